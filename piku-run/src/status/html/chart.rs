//! Charts of a day as inline SVG: an area and its outline. The caption says in words what the chart shows.

use super::html_writer::HtmlWriter;

/// Size of the drawing in its own units; the page scales it.
const WIDTH: u64 = 2880;
const HEIGHT: u64 = 640;
/// Space above the largest value, for the width of the line.
const MARGIN: u64 = 20;

/// Adds the chart of these values, the oldest first.
pub(super) fn add_chart(
    to: &mut HtmlWriter,
    title: &str,
    values: &[Option<u64>],
    format: impl Fn(u64) -> String,
) {
    let known = || values.iter().flatten().copied();
    let largest = known().max().unwrap_or(0);
    let sum: u128 = known().map(u128::from).sum();
    let average = u64::try_from(sum / known().count().max(1) as u128).unwrap_or(u64::MAX);
    to.element("figure", &[], |to| {
        to.element("figcaption", &[], |to| {
            to.text_element("strong", &[], title);
            if known().next().is_none() {
                to.text(" no value of this day is recorded");
                return;
            }
            if let Some(last) = values.last().copied().flatten() {
                to.text(&format!(" {} now,", format(last)));
            }
            to.text(&format!(" on average {}, at most {}", format(average), format(largest)));
        });
        if known().next().is_none() {
            return;
        }
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let svg =
            [("viewBox", view.as_str()), ("preserveAspectRatio", "none"), ("aria-hidden", "true"), ("focusable", "false")];
        to.element("svg", &svg, |to| {
            let middle = (HEIGHT / 2).to_string();
            let (right, bottom) = (WIDTH.to_string(), HEIGHT.to_string());
            for height in [middle.as_str(), bottom.as_str()] {
                let grid = [("class", "grid"), ("x1", "0"), ("x2", &right), ("y1", height), ("y2", height)];
                to.element("line", &grid, |_| {});
            }
            for run in runs(values, largest) {
                let line = path_of(&run);
                if let (Some(first), Some(last)) = (run.first(), run.last()) {
                    let area = format!("{line}V{bottom}H{}Z", first.0);
                    to.element("path", &[("class", "area"), ("d", &area)], |_| {});
                    // A single value is a short line.
                    let line = if first == last { format!("{line}h10") } else { line };
                    to.element("path", &[("class", "line"), ("d", &line)], |_| {});
                }
            }
        });
        to.markup("<p class=\"scale\" aria-hidden=\"true\"><span>24 h ago</span><span>12 h</span><span>now</span></p>\n");
    });
}

/// Returns the points of the values between gaps.
fn runs(values: &[Option<u64>], largest: u64) -> Vec<Vec<(u64, u64)>> {
    // The result is at most HEIGHT.
    let height = |value: u64| {
        let scaled = u128::from(value) * u128::from(HEIGHT - MARGIN) / u128::from(largest.max(1));
        HEIGHT - u64::try_from(scaled).unwrap_or(HEIGHT).min(HEIGHT)
    };
    let count = values.len().max(1) as u64;
    let mut runs = vec![Vec::new()];
    for (at, value) in (0_u64..).zip(values) {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => run.push((at * WIDTH / count, height(*value))),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn path_of(points: &[(u64, u64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x} {y}")).collect();
    format!("M{}", points.join("L"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_the_caption_says_what_is_drawn() {
        let mut to = HtmlWriter::default();
        add_chart(&mut to, "Memory", &[Some(1), Some(3), None, Some(2)], |value| format!("{value} B"));
        let page = to.finish();
        assert!(page.contains("<strong>Memory</strong> 2 B now, on average 2 B, at most 3 B"), "{page}");
        assert_eq!(page.matches("class=\"line\"").count(), 2, "{page}");
        assert!(page.contains("d=\"M0 434L720 20\""), "{page}");
        assert!(page.contains("d=\"M2160 227h10\""), "{page}");
        let mut to = HtmlWriter::default();
        add_chart(&mut to, "CPU", &[None, None], |value| value.to_string());
        assert_eq!(
            to.finish(),
            "<figure><figcaption><strong>CPU</strong> no value of this day is recorded</figcaption>\n</figure>\n"
        );
    }
}
