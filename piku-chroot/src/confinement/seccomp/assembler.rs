//! Classic BPF, as far as a filter of system calls needs it. A [`Block`] decides: every way through it ends with an answer
//! in it, so blocks are put together without a label, and every jump goes forward by a known number of steps.

use nix::libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

/// Instructions that end with an answer whatever comes.
pub(super) type Block = Vec<sock_filter>;

/// A question about the word that was loaded last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordQuestion {
    /// It is this number.
    Equals(u32),
    /// It has one of these bits.
    HasAny(u32),
    /// It is this number or a greater one.
    AtLeast(u32),
}

/// Answers at once.
pub(super) fn answer(action: u32) -> Block {
    vec![instruction(BPF_RET | BPF_K, 0, 0, action)]
}

/// Loads the word at this place of `struct seccomp_data`, and goes on with it.
pub(super) fn load(offset: u32, rest: Block) -> Block {
    prepend([instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)], rest)
}

/// One of two blocks.
pub(super) fn choose(question: WordQuestion, yes: Block, no: Block) -> Block {
    let (test, operand) = match question {
        WordQuestion::Equals(number) => (BPF_JEQ, number),
        WordQuestion::HasAny(bits) => (BPF_JSET, bits),
        WordQuestion::AtLeast(number) => (BPF_JGE, number),
    };
    let test = |yes, no| instruction(BPF_JMP | test | BPF_K, yes, no, operand);
    let mut block = match (u8::try_from(no.len()), u32::try_from(no.len())) {
        // What a "no" leads to comes next.
        (Ok(over), _) => prepend([test(over, 0)], no),
        // A question jumps over 255 instructions at most, a jump without a question over any number.
        (_, over) => {
            let over = over.unwrap_or(u32::MAX);
            prepend([test(0, 1), instruction(BPF_JMP | BPF_JA, 0, 0, over)], no)
        }
    };
    block.extend(yes);
    block
}

/// A part of all numbers, from `first` up to the next part's.
pub(super) struct NumberRange {
    pub(super) first: u32,
    pub(super) block: Block,
}

/// The block of the part that the loaded number is in. The parts are sorted, and the first begins at 0. Half of them fall
/// away with each question: the kernel runs the filter once for each number when it is installed, and remembers which
/// numbers are allowed whatever their arguments.
pub(super) fn search(parts: &[NumberRange]) -> Block {
    match parts {
        [] => Block::new(),
        [part] => part.block.clone(),
        _ => {
            let (lower, upper) = parts.split_at(parts.len() / 2);
            choose(WordQuestion::AtLeast(upper[0].first), search(upper), search(lower))
        }
    }
}

fn prepend<const N: usize>(first: [sock_filter; N], rest: Block) -> Block {
    first.into_iter().chain(rest).collect()
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // All codes are made of eight bits.
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}
