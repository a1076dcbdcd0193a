use super::*;

/// A description that is written by hand.
#[derive(Default)]
struct Sample {
    types: Vec<u8>,
    names: Vec<u8>,
}

impl Sample {
    fn name(&mut self, name: &str) -> u32 {
        if self.names.is_empty() {
            self.names.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.names.len()).unwrap();
        self.names.extend(name.bytes().chain([0]));
        at
    }

    fn add(&mut self, name: &str, info: u32, target: u32, body: &[u32]) {
        let name = self.name(name);
        for word in [name, info, target].iter().chain(body) {
            self.types.extend(word.to_ne_bytes());
        }
    }

    /// A structure or union; bit fields have their width in the first byte of the offset.
    fn add_structure(&mut self, name: &str, kind: u32, members: &[(&str, u32, u32)]) {
        let body: Vec<u32> =
            members.iter().flat_map(|(name, kind, offset)| [self.name(name), *kind, *offset]).collect();
        self.add(name, 1 << 31 | kind << 24 | u32::try_from(members.len()).unwrap(), 8, &body);
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, names) = (u32::try_from(self.types.len()).unwrap(), u32::try_from(self.names.len()).unwrap());
        let mut out = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        for word in [24, 0, types, types, names] {
            out.extend(u32::to_ne_bytes(word));
        }
        [&out[..], &self.types, &self.names].concat()
    }
}

/// 1: an integer; 2: a union; 3: another name of it; 4: `packet`, with that in it without a name; 5, 6: functions; 7: it contains itself.
fn sample() -> Sample {
    let mut sample = Sample::default();
    sample.add("int", 1 << 24, 4, &[32]);
    sample.add_structure("", UNION, &[("whole", 1, 0), ("half", 1, 16)]);
    sample.add("", 10 << 24, 2, &[]);
    sample.add_structure("packet", STRUCT, &[("first", 1, 0), ("flag", 1, 2 << 24 | 37), ("", 3, 64)]);
    sample.add("one", FUNCTION << 24, 0, &[]);
    sample.add("other", FUNCTION << 24, 0, &[]);
    sample.add_structure("endless", STRUCT, &[("", 7, 0), ("", 7, 0), ("", 7, 0), ("", 7, 0)]);
    sample
}

#[test]
fn fields_are_found_in_what_has_no_name_and_bits_of_bit_fields_too() {
    let bytes = sample().bytes();
    let types = Types::read(&bytes).unwrap();
    let field = |bit, bits| Field { bit, bits };
    let found = types.fields("packet", ["first", "flag", "whole", "half"]);
    assert_eq!(found, Some([field(0, 0), field(37, 2), field(64, 0), field(80, 0)]));
    assert_eq!(types.fields("packet", ["first", "missing"]), None);
    assert_eq!(types.fields("pack", ["first"]), None, "a name is whole");
    assert_eq!((types.function("other"), types.function("packet")), (Some(6), None));
}

#[test]
fn what_contains_itself_comes_to_an_end() {
    let bytes = sample().bytes();
    assert_eq!(Types::read(&bytes).unwrap().fields("endless", ["any"]), None);
}

#[test]
fn whatever_the_bytes_are_reading_them_ends() {
    let whole = sample().bytes();
    let look = |bytes: &[u8]| {
        if let Some(types) = Types::read(bytes) {
            let _ = (types.fields("packet", ["first", "half"]), types.function("other"));
        }
    };
    for length in 0..whole.len() {
        look(&whole[..length]);
    }
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            look(&bytes);
        }
    }
    // Lengths and places that do not fit, all words.
    for place in (4..whole.len() - 4).step_by(4) {
        for value in [u32::MAX, 1 << 31, u32::MAX / 12, 1 << 24] {
            let mut bytes = whole.clone();
            bytes[place..place + 4].copy_from_slice(&value.to_ne_bytes());
            look(&bytes);
        }
    }
}
