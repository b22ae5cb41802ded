//! Classic BPF, as far as a seccomp filter needs it. Every path through a [`Block`] ends with an action, so
//! blocks are combined without labels, and every jump goes forward by a known number of instructions.

use nix::libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

/// Instructions that always end with an action.
pub(super) type Block = Vec<sock_filter>;

/// A question about the last loaded word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordQuestion {
    Equals(u32),
    /// Any of these bits is set.
    HasAny(u32),
    AtLeast(u32),
}

/// Returns an action at once.
pub(super) fn return_action(action: u32) -> Block {
    vec![instruction(BPF_RET | BPF_K, 0, 0, action)]
}

/// Loads the word at this offset of `struct seccomp_data`, and continues with `rest`.
pub(super) fn load(offset: u32, rest: Block) -> Block {
    prepend([instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)], rest)
}

/// Continues with `yes` or `no`.
pub(super) fn branch(question: WordQuestion, yes: Block, no: Block) -> Block {
    let (test, operand) = match question {
        WordQuestion::Equals(number) => (BPF_JEQ, number),
        WordQuestion::HasAny(bits) => (BPF_JSET, bits),
        WordQuestion::AtLeast(number) => (BPF_JGE, number),
    };
    let test = |yes, no| instruction(BPF_JMP | test | BPF_K, yes, no, operand);
    let mut block = match (u8::try_from(no.len()), u32::try_from(no.len())) {
        // The "no" block comes next.
        (Ok(over), _) => prepend([test(over, 0)], no),
        // A conditional jump skips at most 255 instructions, an unconditional one any number.
        (_, over) => {
            let over = over.unwrap_or(u32::MAX);
            prepend([test(0, 1), instruction(BPF_JMP | BPF_JA, 0, 0, over)], no)
        }
    };
    block.extend(yes);
    block
}

/// System call numbers from `first` up to the next range.
pub(super) struct NumberRange {
    pub(super) first: u32,
    pub(super) block: Block,
}

/// Returns a binary search for the range of the loaded number. The ranges are sorted, and the first one
/// begins at 0. When the filter is installed, the kernel runs it once for each number, and remembers which
/// numbers are allowed whatever their arguments.
pub(super) fn search(parts: &[NumberRange]) -> Block {
    match parts {
        [] => Block::new(),
        [part] => part.block.clone(),
        _ => {
            let (lower, upper) = parts.split_at(parts.len() / 2);
            branch(WordQuestion::AtLeast(upper[0].first), search(upper), search(lower))
        }
    }
}

fn prepend<const N: usize>(first: [sock_filter; N], rest: Block) -> Block {
    first.into_iter().chain(rest).collect()
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // All codes have eight bits.
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}
