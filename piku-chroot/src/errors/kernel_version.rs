//! The version of the running kernel, which tells a missing feature from one that is switched off or hidden.

use rustix::system::uname;

/// Version of a kernel, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion {
    major: u32,
    minor: u32,
}

impl KernelVersion {
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Returns the version of the running kernel; that of a very old one if its name has none.
    pub(crate) fn running() -> Self {
        Self::parse(&uname().release().to_string_lossy()).unwrap_or(Self::new(0, 0))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self::new(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let parse = |release| KernelVersion::parse(release).unwrap();
        assert_eq!(parse("6.12.34+rpt-rpi-v8"), KernelVersion::new(6, 12));
        assert!(parse("6.2-rc1") < parse("6.12.1") && parse("5.19") > parse("5.4.0-150-generic"));
        assert_eq!(KernelVersion::parse("unknown"), None);
        assert!(KernelVersion::running() > KernelVersion::new(3, 0));
    }
}
