//! Tables that explain failed build steps: what a tool prints, and what that means to the author of the app.

use piku_files::TreeHandle;
use piku_report::user_error::UserError;

use super::with_lines;
use crate::step::build_step::StepOutcome;

/// A known cause of failures. The first rule of a table that matches explains the failure.
///
/// A pattern is a text in a line of the output. A `*` in it stands for any text, which the message may repeat
/// as `{capture}`. Messages and hints may also contain `{line}`, the first line that matched, `{pattern}`,
/// and the values of the step.
#[derive(Clone, Copy)]
pub(crate) struct FailureRule {
    /// Patterns of which the output must contain one.
    any: &'static [&'static str],
    /// Patterns of which the output must contain one too, unless the list is empty.
    also: &'static [&'static str],
    /// Patterns that the output must not contain.
    unless: &'static [&'static str],
    message: &'static str,
    hints: &'static [&'static str],
    /// The lines with one of these patterns are repeated below the message, this many at most.
    repeated: (&'static [&'static str], usize),
    /// Builds the error instead, if a message and hints are not enough; `None` means that the rule does not
    /// match after all.
    build: Option<fn(&FailedStep<'_>) -> Option<UserError>>,
}

impl FailureRule {
    pub(crate) const fn new(
        any: &'static [&'static str],
        message: &'static str,
        hints: &'static [&'static str],
    ) -> Self {
        Self { any, also: &[], unless: &[], message, hints, repeated: (&[], 0), build: None }
    }

    pub(crate) const fn call(
        any: &'static [&'static str],
        build: fn(&FailedStep<'_>) -> Option<UserError>,
    ) -> Self {
        Self { build: Some(build), ..Self::new(any, "", &[]) }
    }

    /// The step, or a process that it started, was killed.
    pub(crate) const fn killed(any: &'static [&'static str]) -> Self {
        Self::call(any, |step| Some(step.killed()))
    }

    pub(crate) const fn no_space(any: &'static [&'static str]) -> Self {
        Self::call(any, |step| Some(super::no_space(step.name)))
    }

    pub(crate) const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    pub(crate) const fn unless(self, unless: &'static [&'static str]) -> Self {
        Self { unless, ..self }
    }

    /// Repeats the first `most` matching lines below the message.
    pub(crate) const fn repeat(self, most: usize) -> Self {
        Self { repeated: (self.any, most), ..self }
    }

    /// Repeats the first `most` lines with one of these patterns below the message.
    pub(crate) const fn repeat_lines(self, patterns: &'static [&'static str], most: usize) -> Self {
        Self { repeated: (patterns, most), ..self }
    }

    fn explain(&self, step: &FailedStep<'_>) -> Option<UserError> {
        let found = step.find(self.any)?;
        if !self.also.is_empty() && !step.has(self.also) || step.has(self.unless) {
            return None;
        }
        if let Some(build) = self.build {
            return build(step);
        }
        let lines = step.lines_with(self.repeated.0, self.repeated.1);
        let failure = with_lines(step.fill(self.message, &found), &lines);
        Some(self.hints.iter().fold(failure, |failure, hint| failure.hint(step.fill(hint, &found))))
    }
}

/// A line of the output that matches a pattern.
struct MatchedLine<'a> {
    line: &'a str,
    pattern: &'static str,
    capture: &'a str,
}

/// A failed step, as the rules look at it.
pub(crate) struct FailedStep<'a> {
    pub(crate) name: &'a str,
    pub(crate) outcome: &'a StepOutcome,
    /// The last lines of the output, without the prefix that the tool puts in front of its errors.
    pub(crate) lines: Vec<&'a str>,
    /// The lines as one text, for sentences that a tool wraps.
    joined: String,
    values: Vec<(&'static str, &'a str)>,
    /// The tree of the app, where a rule looks for the line that is to blame.
    pub(crate) tree: Option<&'a TreeHandle>,
}

impl<'a> FailedStep<'a> {
    pub(crate) fn new(name: &'a str, outcome: &'a StepOutcome, clean: fn(&str) -> &str) -> Self {
        let lines: Vec<&str> = outcome.lines.iter().map(|line| clean(line)).collect();
        Self { name, outcome, joined: lines.join(" "), lines, values: vec![("step", name)], tree: None }
    }

    /// Adds a value that messages may contain as `{name}`.
    pub(crate) fn with(mut self, name: &'static str, value: &'a str) -> Self {
        self.values.push((name, value));
        self
    }

    pub(crate) fn value(&self, name: &str) -> &'a str {
        self.values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Explains the failure by the first rule that matches.
    pub(crate) fn explain(&self, rules: &[FailureRule]) -> Option<UserError> {
        rules.iter().find_map(|rule| rule.explain(self))
    }

    /// Returns the error for a step that the kernel killed.
    pub(crate) fn killed(&self) -> UserError {
        let outcome = StepOutcome { code: 137, lines: Vec::new(), ..*self.outcome };
        super::step_failed(self.name, &outcome, &[])
    }

    pub(crate) fn has(&self, patterns: &[&'static str]) -> bool {
        self.find(patterns).is_some()
    }

    /// Returns what stands at the `*` of the pattern in the first line that matches.
    pub(crate) fn capture(&self, pattern: &'static str) -> Option<&str> {
        self.find(&[pattern]).map(|found| found.capture)
    }

    /// Returns what stands at the `*` of the pattern in the first of these lines that matches.
    pub(crate) fn capture_in<'b>(lines: &[&'b str], pattern: &str) -> Option<&'b str> {
        lines.iter().find_map(|line| match_line(line, pattern))
    }

    /// Returns the first line with one of the patterns.
    pub(crate) fn line_with(&self, patterns: &[&'static str]) -> Option<&str> {
        self.find(patterns).map(|found| found.line)
    }

    /// Returns the first `most` lines with one of the patterns, each once.
    pub(crate) fn lines_with(&self, patterns: &[&'static str], most: usize) -> Vec<String> {
        let has = |line: &&&str| patterns.iter().any(|pattern| match_line(line, pattern).is_some());
        let mut found: Vec<String> = Vec::new();
        for line in self.lines.iter().filter(has) {
            if found.len() < most && !found.iter().any(|known| known == line) {
                found.push((*line).to_owned());
            }
        }
        found
    }

    fn find(&self, patterns: &[&'static str]) -> Option<MatchedLine<'_>> {
        let match_any = |line: &'_ &'a str| {
            patterns
                .iter()
                .find_map(|pattern| Some(MatchedLine { line, pattern, capture: match_line(line, pattern)? }))
        };
        self.lines.iter().find_map(match_any).or_else(|| {
            let pattern = patterns.iter().find(|pattern| self.joined.contains(**pattern))?;
            Some(MatchedLine { line: "", pattern, capture: "" })
        })
    }

    fn fill(&self, template: &str, found: &MatchedLine<'_>) -> String {
        let values = self.values.iter().copied();
        let found = [("pattern", found.pattern), ("capture", found.capture), ("line", found.line)];
        values
            .chain(found)
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}

/// Returns the text at the `*` of a pattern, or an empty one, if the line matches.
fn match_line<'a>(line: &'a str, pattern: &str) -> Option<&'a str> {
    let Some((front, back)) = pattern.split_once('*') else { return line.contains(pattern).then_some("") };
    let (_, rest) = line.split_once(front)?;
    if back.is_empty() { Some(rest) } else { rest.split_once(back).map(|(capture, _)| capture) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_explains() {
        const RULES: [FailureRule; 3] = [
            FailureRule::new(&["cannot find"], "not with {line}", &[]).also(&["nothing of it"]),
            FailureRule::new(&["cannot find '*' in"], "{step} lacks {capture} for {app}", &["add {capture}"])
                .unless(&["offline"]),
            FailureRule::new(&["offline", "two words"], "{pattern}: {line}", &[])
                .repeat_lines(&["cannot"], 1),
        ];
        let explain = |lines: &[&str]| {
            let lines = lines.iter().map(ToString::to_string).collect();
            let outcome = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
            FailedStep::new("make", &outcome, str::trim).with("app", "shop").explain(&RULES)
        };
        assert_eq!(explain(&["  cannot find 'x' in y"]).unwrap().to_string(), "make lacks x for shop");
        let offline = explain(&["cannot find 'x' in y", "cannot", "offline "]).unwrap();
        assert_eq!(offline.to_string(), "offline: offline\n  cannot find 'x' in y");
        assert_eq!(explain(&["two", "words"]).unwrap().to_string(), "two words: ");
        assert!(explain(&["cannot find it"]).is_none());
    }
}
