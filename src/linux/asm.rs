//! Instructions of the kernel's virtual machine (eBPF, RFC 9669), written one after another with marks that jumps lead to.

/// A register: r0 is what a call returns, r1 to r5 what it is given and forgets, r6 to r9 are kept, r10 is the end of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

/// Width of a load or store (`BPF_SIZE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// Arithmetic of 64 bits (`BPF_OP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    Add = 0x00,
    Subtract = 0x10,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Move = 0xb0,
}

/// When a jump is made (`BPF_OP`), by comparison of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum If {
    Equal = 0x10,
    Different = 0x50,
    /// As numbers with a sign.
    AtLeast = 0x70,
    /// As numbers without a sign.
    Below = 0xa0,
}

/// What a call calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A helper, by its number in linux/bpf.h.
    Helper(i32),
    /// A function of the kernel, by its number in BTF.
    Kernel(i32),
}

/// The second operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    Reg(Reg),
    Number(i32),
}

/// A place in the program that jumps lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(usize);

/// One instruction (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) code: u8,
    pub(super) target: u8,
    pub(super) source: u8,
    pub(super) offset: i16,
    pub(super) number: i32,
}

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Program {
    steps: Vec<Step>,
    /// Where each mark is, once it is set.
    marks: Vec<Option<usize>>,
    /// Jumps by place, and the mark that each leads to.
    jumps: Vec<(usize, Mark)>,
}

impl Program {
    fn push(&mut self, code: u8, target: u8, source: u8, offset: i16, number: i32) {
        self.steps.push(Step { code, target, source, offset, number });
    }

    /// A mark that is set later.
    pub(super) fn mark(&mut self) -> Mark {
        self.marks.push(None);
        Mark(self.marks.len() - 1)
    }

    /// Sets a mark here.
    pub(super) fn set(&mut self, mark: Mark) {
        let here = self.steps.len();
        if let Some(place) = self.marks.get_mut(mark.0) {
            *place = Some(here);
        }
    }

    /// `target = target OP with`
    pub(super) fn alu(&mut self, what: Do, target: Reg, with: impl Into<With>) {
        let code = 0x07 | what as u8;
        match with.into() {
            With::Reg(source) => self.push(code | 0x08, target.0, source.0, 0, 0),
            With::Number(number) => self.push(code, target.0, 0, 0, number),
        }
    }

    /// `target = *(source + offset)`
    pub(super) fn load(&mut self, width: Width, target: Reg, source: Reg, offset: i16) {
        self.push(0x61 | width as u8, target.0, source.0, offset, 0);
    }

    /// `*(target + offset) = with`
    pub(super) fn store(&mut self, width: Width, target: Reg, offset: i16, with: impl Into<With>) {
        match with.into() {
            With::Reg(source) => self.push(0x63 | width as u8, target.0, source.0, offset, 0),
            With::Number(number) => self.push(0x62 | width as u8, target.0, 0, offset, number),
        }
    }

    /// `*target += source`, 64 bits, at once for all processors.
    pub(super) fn add_shared(&mut self, target: Reg, source: Reg) {
        self.push(0xdb, target.0, source.0, 0, 0);
    }

    /// Makes a register a table of the kernel, by its descriptor.
    pub(super) fn table(&mut self, target: Reg, descriptor: i32) {
        self.push(0x18, target.0, 1, 0, descriptor);
        self.push(0, 0, 0, 0, 0);
    }

    pub(super) fn call(&mut self, call: Call) {
        match call {
            Call::Helper(number) => self.push(0x85, 0, 0, 0, number),
            Call::Kernel(number) => self.push(0x85, 0, 2, 0, number),
        }
    }

    pub(super) fn jump(&mut self, to: Mark) {
        self.jumps.push((self.steps.len(), to));
        self.push(0x05, 0, 0, 0, 0);
    }

    pub(super) fn jump_if(&mut self, what: If, left: Reg, with: impl Into<With>, to: Mark) {
        self.jumps.push((self.steps.len(), to));
        let code = 0x05 | what as u8;
        match with.into() {
            With::Reg(source) => self.push(code | 0x08, left.0, source.0, 0, 0),
            With::Number(number) => self.push(code, left.0, 0, 0, number),
        }
    }

    /// Ends with a number.
    pub(super) fn end(&mut self, number: i32) {
        self.alu(Do::Move, Reg(0), number);
        self.push(0x95, 0, 0, 0, 0);
    }

    /// The program; none where a jump leads nowhere, or too far.
    pub(super) fn finish(mut self) -> Option<Vec<Step>> {
        for (at, mark) in &self.jumps {
            let to = (*self.marks.get(mark.0)?)?;
            let distance = to.checked_signed_diff(at + 1)?;
            self.steps.get_mut(*at)?.offset = i16::try_from(distance).ok()?;
        }
        Some(self.steps)
    }
}

impl Step {
    /// As the kernel reads it. Registers are two halves of a byte, in an order that differs with that of bytes; all machines that
    /// [`super::filter`] knows are little-endian.
    pub(super) fn bytes(self) -> u64 {
        let [a, b] = self.offset.to_ne_bytes();
        let [c, d, e, f] = self.number.to_ne_bytes();
        u64::from_ne_bytes([self.code, self.target | self.source << 4, a, b, c, d, e, f])
    }
}

impl From<Reg> for With {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for With {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}
