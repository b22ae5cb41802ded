use super::*;
use crate::status::report::{DiskReport, MemoryReport};

/// A report without apps of a machine with this name.
fn report(host: &str) -> HostReport {
    HostReport {
        host: host.to_owned(),
        version: "0.0.0".to_owned(),
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        disk: DiskReport { total_bytes: 4 << 30, free_bytes: 1 << 30 },
        memory: MemoryReport { total_bytes: Some(1 << 30), available_bytes: Some(512 << 20) },
        problems: Vec::new(),
        apps: Vec::new(),
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = render(&report("pi"), PageUse::File);
    assert!(
        page.contains("<title>pi: no problems</title>") && page.contains("75 % of 4.0 GiB in use"),
        "{page}"
    );
    for outside in ["<script", "src=", "url(", "@import", "http://", "style=\"", "href=\"live"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(render(&report("pi"), PageUse::Served).contains("href=\"live\""));
    assert!(content_policy().contains("style-src 'sha256-") && !content_policy().contains("unsafe"));
}

#[test]
fn names_are_escaped() {
    let page = render(&report("<b>&\""), PageUse::File);
    assert!(page.contains("<h1>&lt;b&gt;&amp;&quot;</h1>") && !page.contains("<b>"), "{page}");
}
