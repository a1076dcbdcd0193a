//! What the running kernel says of its own types (BTF, Documentation/bpf/btf.rst): where a field of a structure is, and the number of
//! a function. Whatever the bytes are, reading them ends and fails at worst.

/// `BTF_MAGIC` of linux/btf.h, in the byte order of the machine.
const MAGIC: u16 = 0xeb9f;
/// `struct btf_header` without what later versions add.
const HEADER: usize = 24;
/// `struct btf_type`, and `struct btf_member`.
const TYPE: usize = 12;
/// `BTF_KIND_*`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;
/// `typedef`, `volatile`, `const`, `restrict` and type tags: other names of what they point to.
const SAME: [u32; 5] = [8, 9, 10, 11, 18];
/// Structures without a name that are in each other, and other names of other names, at most.
const DEEP: u8 = 16;
/// Fields that are looked at in all, so that structures that contain each other come to an end.
const FIELDS: u32 = 1 << 20;

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// First bit, from the begin of the structure.
    pub(super) bit: u32,
    /// Bits of a bit field; 0 for other fields.
    pub(super) bits: u32,
}

/// The types of a kernel, by number.
#[derive(Debug)]
pub(super) struct Types<'a> {
    bytes: &'a [u8],
    /// Where the names begin.
    names: usize,
    /// Where each type begins; number 0 is `void` and has no place.
    places: Vec<usize>,
}

/// `struct btf_type`.
#[derive(Debug, Clone, Copy)]
struct Type {
    name: usize,
    kind: u32,
    count: usize,
    /// Bit fields say how wide they are.
    wide: bool,
    /// Of those that point to another: its number.
    target: u32,
    /// Where what follows it begins.
    body: usize,
}

impl<'a> Types<'a> {
    /// Finds the begin of each type. None where this is no BTF, or a kind of type is not known.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let at = |place| usize::try_from(word(bytes, place)?).ok();
        let magic = bytes.get(..2)?;
        let header = at(4)?;
        if magic != MAGIC.to_ne_bytes() || header < HEADER {
            return None;
        }
        let start = header.checked_add(at(8)?)?;
        let end = start.checked_add(at(12)?)?;
        let names = header.checked_add(at(16)?)?;
        let mut types = Self { bytes: bytes.get(..names.checked_add(at(20)?)?)?, names, places: vec![usize::MAX] };
        bytes.get(start..end)?;
        let mut place = start;
        while place < end {
            types.places.push(place);
            place = types.at(place)?.end()?;
        }
        Some(types)
    }

    /// The number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.named(FUNCTION, name).next()
    }

    /// Where these fields of a structure are, those of structures without a name in it too. Where several structures have that name, the
    /// first that has all of them.
    pub(super) fn fields<const N: usize>(&self, structure: &str, names: [&str; N]) -> Option<[Field; N]> {
        let mut budget = FIELDS;
        self.named(STRUCT, structure).find_map(|number| {
            let mut found = [Field { bit: 0, bits: 0 }; N];
            for (field, name) in found.iter_mut().zip(names) {
                *field = self.field((number, 0), name, DEEP, &mut budget)?;
            }
            Some(found)
        })
    }

    /// Types of a kind and a name.
    fn named(&self, kind: u32, name: &str) -> impl Iterator<Item = u32> {
        (1..self.places.len()).filter_map(move |number| {
            let number = u32::try_from(number).ok()?;
            let this = self.get(number)?;
            (this.kind == kind && self.is_named(this.name, name)).then_some(number)
        })
    }

    /// A field of a structure that begins at a bit, or of what is in it without a name.
    fn field(&self, (structure, base): (u32, u32), name: &str, deep: u8, budget: &mut u32) -> Option<Field> {
        let this = self.get(structure).filter(|this| [STRUCT, UNION].contains(&this.kind))?;
        for number in 0..this.count {
            *budget = budget.checked_sub(1)?;
            let member = number.checked_mul(TYPE)?.checked_add(this.body)?;
            let (label, kind, offset) =
                (word(self.bytes, member)?, word(self.bytes, member + 4)?, word(self.bytes, member + 8)?);
            let (offset, bits) = if this.wide { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            let bit = base.checked_add(offset)?;
            let label = usize::try_from(label).ok()?;
            if self.is_named(label, name) {
                return Some(Field { bit, bits });
            }
            if label == 0 && deep > 0 {
                let inner = self.itself(kind)?;
                if let Some(found) = self.field((inner, bit), name, deep - 1, budget) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// What a type is another name of.
    fn itself(&self, mut number: u32) -> Option<u32> {
        for _ in 0..DEEP {
            let this = self.get(number)?;
            if !SAME.contains(&this.kind) {
                return Some(number);
            }
            number = this.target;
        }
        None
    }

    fn get(&self, number: u32) -> Option<Type> {
        self.at(*self.places.get(usize::try_from(number).ok()?)?)
    }

    fn at(&self, place: usize) -> Option<Type> {
        let target = word(self.bytes, place.checked_add(8)?)?;
        let (name, info) = (word(self.bytes, place)?, word(self.bytes, place + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
        Some(Type { name: usize::try_from(name).ok()?, kind, count, wide: info >> 31 == 1, target, body: place + TYPE })
    }

    fn is_named(&self, place: usize, name: &str) -> bool {
        let bytes = self.names.checked_add(place).and_then(|start| self.bytes.get(start..));
        bytes.and_then(|bytes| bytes.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
    }
}

impl Type {
    /// Where the next type begins.
    fn end(&self) -> Option<usize> {
        let each = |size: usize| size.checked_mul(self.count);
        // By kind: integer, pointer, array, structure, union, enumeration, forward, other names, function, its prototype, variable,
        // section, floating point, tag of a declaration, tag of a type, wide enumeration.
        let more = match self.kind {
            1 | 14 | 17 => 4,
            2 | 7..=12 | 16 | 18 => 0,
            3 => 12,
            4 | 5 | 15 | 19 => each(12)?,
            6 | 13 => each(8)?,
            _ => return None,
        };
        self.body.checked_add(more)
    }
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    let bytes = bytes.get(place..place.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
