//! Releases memory of a process that waits.

use nix::libc;

/// Releases memory that was needed so far and will hardly be needed again: empty pages of the heap, the part
/// of the stack that deeper calls have used, and pages of the program and its libraries, which the kernel can
/// read again. Each running command has two processes of this program, which wait for months.
pub fn release_memory() {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let (pages, stack, page) = (find_unwritten(&maps), find_stack(&maps), page_size());
    drop(maps);
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches only memory that the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
    // Last: every function that is called after this is read again, with its neighbours.
    drop_pages(&pages, stack, page);
}

/// Releases these pages and the unused part of the stack. Not inlined, so that its frame is small and the lowest.
#[inline(never)]
fn drop_pages(pages: &[PageRange], stack: Option<PageRange>, page: usize) {
    let here = 0_u8;
    let here = std::ptr::from_ref(&here).expose_provenance();
    let unused = stack.and_then(|stack| find_unused_part(stack, here, page));
    for (start, end) in pages.iter().chain(&unused) {
        let start = std::ptr::with_exposed_provenance_mut(*start);
        // SAFETY: these pages come from a file and could never be written, so reading them again gives the
        // same content; or they lie below all frames of this thread's stack, and nothing refers to them.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// First address of a range of pages, and the first one after it.
type PageRange = (usize, usize);

/// Distance in bytes from a local variable of [`drop_pages`] to unused stack: more than the rest of its frame and
/// the frames of what it calls.
const FRAMES: usize = 4 * 1024;

/// Returns the main thread's stack.
fn find_stack(maps: &str) -> Option<PageRange> {
    let range = maps.lines().find(|line| line.ends_with(" [stack]"))?.split_ascii_whitespace().next()?;
    parse_range(range)
}

/// Returns the pages of a stack below the frame with the address `here`; `None` in another thread. The stack
/// grows downwards on every architecture that piku runs on.
fn find_unused_part((start, end): PageRange, here: usize, page: usize) -> Option<PageRange> {
    let unused = here.checked_sub(FRAMES)? / page * page;
    ((start..end).contains(&here) && start < unused).then_some((start, unused))
}

/// Parses the addresses of a mapping: `55d0a000-55d0b000`.
fn parse_range(range: &str) -> Option<PageRange> {
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

fn page_size() -> usize {
    // SAFETY: it only returns a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // The largest page of Linux, where it is unknown.
    usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(64 * 1024)
}

/// Returns the mappings that show a file unchanged: private, read-only, and never writable since they were
/// mapped.
///
/// That a mapping has no changed page now is not enough: a changed page that is swapped out is not counted,
/// and would be lost. The kernel accounts (`ac`) for every private mapping that could ever be written, such
/// as a library's relocated pages, and keeps that mark when the right is removed. `Anonymous` and `Swap` are
/// checked too, for pages that a debugger has written.
fn find_unwritten(maps: &str) -> Vec<PageRange> {
    let mut unwritten = Vec::new();
    let mut file = None;
    for line in maps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [range, rights, _, _, inode, name, ..] if !range.ends_with(':') => {
                let is_file = matches!(*rights, "r-xp" | "r--p") && *inode != "0" && name.starts_with('/');
                file = parse_range(range).filter(|_| is_file);
            }
            ["Anonymous:" | "Swap:", "0", "kB"] => {}
            ["Anonymous:" | "Swap:", ..] => file = None,
            ["VmFlags:", flags @ ..] => {
                // The last line of each mapping.
                unwritten.extend(file.take().filter(|_| !flags.contains(&"ac")));
            }
            [range, ..] if !range.ends_with(':') => file = None,
            _ => {}
        }
    }
    unwritten
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one mapping as in `smaps`.
    fn part(range: &str, rights: &str, name: &str, anonymous: u32, swap: u32, flags: &str) -> String {
        format!(
            "{range} {rights} 00000000 fe:00 {} {name}\nRss: 4 kB\nAnonymous: {anonymous} kB\nSwap: {swap} kB\n\
             SwapPss: {swap} kB\nLocked: 0 kB\nVmFlags: {flags}\n",
            u32::from(name.starts_with('/')) * 17,
        )
    }

    #[test]
    fn only_what_was_never_writable_is_given_back() {
        let (file, never, once) = ("/usr/bin/x y", "rd mr mw me sd", "rd mr mw me ac sd");
        for (rights, name, anonymous, swap, flags, expected) in [
            ("r-xp", file, 0, 0, never, true),
            ("r--p", file, 0, 0, never, true),
            // A library's relocated pages, in memory, on disk, and partly on each.
            ("r--p", file, 4, 0, once, false),
            ("r--p", file, 0, 4, once, false),
            ("r--p", file, 0, 0, once, false),
            ("r--p", file, 4, 4, never, false),
            ("r-xp", file, 0, 4, never, false),
            ("rw-p", file, 0, 0, once, false),
            ("r--s", file, 0, 0, never, false),
            ("r--p", "", 0, 0, never, false),
            ("r-xp", "[vdso]", 0, 0, never, false),
            ("rw-p", "[stack]", 32, 0, once, false),
            ("rw-p", "[heap]", 0, 32, once, false),
        ] {
            let maps = part("55d0a000-55d0b000", rights, name, anonymous, swap, flags);
            let found = find_unwritten(&maps);
            assert_eq!(found == [(0x55d0_a000, 0x55d0_b000)], expected, "{maps}");
            assert_eq!(found.is_empty(), !expected, "{maps}");
        }
        let two = [part("1000-2000", "r--p", file, 0, 0, never), part("2000-3000", "r--p", file, 0, 4, once)];
        assert_eq!(find_unwritten(&two.concat()), [(0x1000, 0x2000)]);
        // Nothing is known of a mapping without its flags.
        assert!(
            find_unwritten("1000-2000 r-xp 00000000 fe:00 17 /x\nAnonymous: 0 kB\nSwap: 0 kB\n").is_empty()
        );
    }

    /// Checks the memory that this very process would release: it must hold what the files hold, so that
    /// nothing is lost.
    #[test]
    fn what_is_given_back_is_as_the_file_has_it() {
        use std::os::unix::fs::FileExt;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let parts = find_unwritten(&maps);
        assert!(!parts.is_empty(), "{maps}");
        let mappings = maps.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let mappings: Vec<_> = mappings.filter(|words| words.len() > 5).collect();
        for (start, end) in &parts {
            let words = mappings.iter().find(|words| parse_range(words[0]) == Some((*start, *end))).unwrap();
            let offset = u64::from_str_radix(words[2], 16).unwrap();
            let (mut held, mut on_disk) = (vec![0; end - start], vec![0; end - start]);
            memory.read_exact_at(&mut held, (*start).try_into().unwrap()).unwrap();
            // The last page is longer than the file.
            std::fs::File::open(words[5]).unwrap().read_at(&mut on_disk, offset).unwrap();
            assert!(held == on_disk, "{words:?}");
        }
        // Relocated pages must exist that the kernel shows as read-only; otherwise the test proves nothing.
        let relocated = maps
            .split_inclusive("VmFlags:")
            .any(|part| part.contains(" r--p ") && !part.contains("Anonymous:             0 kB"));
        assert!(relocated || cfg!(target_feature = "crt-static"), "{maps}");
    }

    #[test]
    fn only_the_stack_below_all_frames_is_unused() {
        let maps = part("7ffc0000-7fff0000", "rw-p", "[stack]", 32, 0, "rd wr mr mw me gd ac");
        let stack = find_stack(&maps).unwrap();
        assert_eq!(stack, (0x7ffc_0000, 0x7fff_0000));
        assert_eq!(find_unused_part(stack, 0x7ffe_8123, 4096), Some((0x7ffc_0000, 0x7ffe_7000)));
        assert_eq!(find_unused_part(stack, 0x7ffe_8123, 65_536), Some((0x7ffc_0000, 0x7ffe_0000)));
        // Nothing was used below; and another thread, whose stack is elsewhere.
        assert_eq!(find_unused_part(stack, 0x7ffc_1fff, 4096), None);
        assert_eq!(find_unused_part(stack, 0x7fff_0000, 4096), None);
        assert_eq!(find_unused_part(stack, 0x1000, 4096), None);
        assert_eq!(find_stack(""), None);
        assert!(page_size().is_power_of_two());
    }

    #[test]
    fn the_program_lives_on_without_its_memory() {
        release_memory();
        assert_eq!("still".repeat(2), "stillstill");
    }
}
