//! A strict reader of the status page: every element is closed, every link leads somewhere, every table has a caption.

use std::collections::BTreeSet;

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "link"];
/// All elements and attributes that the page may have.
const ELEMENTS: &str = "html head body title style header main footer section article nav dl div dt dd small ul ol li \
                        h1 h2 h3 h4 p a span time code strong table caption thead tbody tr th td figure figcaption svg rect \
                        line path details summary pre";
const ATTRIBUTES: &str = "lang charset http-equiv content name rel href class id aria-labelledby aria-label aria-hidden scope \
                          role tabindex datetime viewBox preserveAspectRatio focusable x1 x2 y1 y2 d width height";

/// Reads the page and returns the text of all elements, with the names of those around it.
///
/// # Panics
/// Panics if the page breaks a rule.
pub(crate) fn read_page(page: &str) -> Vec<(String, String)> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let (mut open, mut texts): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    let (mut ids, mut links, mut headings) = (BTreeSet::new(), Vec::new(), Vec::new());
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>') || open.last().is_some_and(|name| name == "style"), "{text}");
        if !text.trim().is_empty() {
            texts.push((open.join(" "), text.trim().to_owned()));
        }
        let end = rest[at..].find('>').expect("an end of the tag") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "in {open:?}");
            continue;
        }
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(ELEMENTS.split_whitespace().chain(VOID).any(|known| known == name), "element {name}");
        let mut found = Vec::new();
        while let Some((attribute, value)) = attributes.split_once("=\"") {
            let attribute = attribute.trim();
            assert!(ATTRIBUTES.split_whitespace().any(|known| known == attribute), "attribute {attribute}");
            let (value, left) = value.split_once('"').expect("an end of the value");
            match attribute {
                "id" => assert!(ids.insert(value.to_owned()), "{value} comes twice"),
                "href" | "aria-labelledby" => links.push(value.to_owned()),
                _ => {}
            }
            found.push(attribute);
            attributes = left;
        }
        assert!(attributes.trim().is_empty(), "{tag}");
        assert!(name != "th" || found.contains(&"scope"), "{tag}");
        if let Some(level) = name.strip_prefix('h').and_then(|level| level.parse::<usize>().ok()) {
            let before = headings.last().copied().unwrap_or(0);
            assert!(level <= before + 1, "a heading of level {level} follows one of level {before}");
            headings.push(level);
        }
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
    for link in links {
        let is_web = link.starts_with("http://") || link.starts_with("https://") || link == "data:,";
        let id = link.strip_prefix('#').unwrap_or(&link);
        assert!(is_web || ids.contains(id) || link == "live" || link == "./", "{link} leads nowhere");
    }
    for (whole, part) in [("<table", "<caption"), ("<details", "<summary"), ("<figure", "<figcaption")] {
        assert_eq!(page.matches(whole).count(), page.matches(part).count(), "{whole} without {part}");
    }
    texts
}
