//! Pods that the cluster refuses to make: a quota, limits or the security level of the namespace.

use piku_report::user_error::UserError;

/// Returns an error, with what helps if it is a refusal.
pub(super) fn explain(message: String) -> UserError {
    match hint(&message) {
        Some(hint) => UserError::new(message).hint(hint),
        None => UserError::new(message),
    }
}

/// Returns the reason of a refusal, which is the same for each attempt, without the name of the pod, which is not.
pub(super) fn reason_of(message: &str) -> &str {
    let message = message.strip_prefix("Error creating: ").unwrap_or(message);
    message.split_once(" is forbidden: ").map_or(message, |(_, reason)| reason)
}

/// Returns what helps against a refusal.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    if message.contains("failed quota") && message.contains("must specify") {
        return Some(
            "the namespace asks for limits: set TYPE_MEMORY_LIMIT and TYPE_CPU_LIMIT of each type, or MEMORY_LIMIT \
             and CPU_LIMIT, or give the namespace defaults by a LimitRange",
        );
    }
    let is_exceeded = message.contains("exceeded quota");
    is_exceeded.then_some("see kubectl describe quota; a deploy needs room for one more pod of each type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_reason_and_a_hint() {
        let told = "Error creating: pods \"a-7\" is forbidden: exceeded quota: q, requested: pods=1";
        assert_eq!(reason_of(told), "exceeded quota: q, requested: pods=1");
        assert!(hint(reason_of(told)).is_some_and(|hint| hint.contains("one more pod")));
        let told = "pods \"a-7\" is forbidden: failed quota: q: must specify limits.memory for: web";
        assert!(hint(told).is_some_and(|hint| hint.contains("TYPE_MEMORY_LIMIT")));
        assert_eq!((reason_of("x"), hint("x")), ("x", None));
    }
}
