//! Pods that the cluster refuses to make: a quota, limits or the security level of the namespace.

/// Advice against a quota without room, for a deploy.
const ROOM_FOR_DEPLOY: &str = "see kubectl describe quota; a deploy needs room for one more pod of each type";
/// Advice against a quota without room, for anything else.
const ROOM: &str = "see kubectl describe quota: what ends in the namespace makes room";

/// Returns the reason of a refusal, which is the same for each attempt, without the name of the pod, which is not.
pub(super) fn reason_of(message: &str) -> &str {
    let message = message.strip_prefix("Error creating: ").unwrap_or(message);
    message.split_once(" is forbidden: ").map_or(message, |(_, reason)| reason)
}

/// Returns what helps against the refusal of a deploy's pods.
pub(super) fn deploy_hint(message: &str) -> Option<&'static str> {
    hint(message).map(|hint| if hint == ROOM { ROOM_FOR_DEPLOY } else { hint })
}

/// Returns what helps against a refusal. The message is the cluster's alone: an app may print the same words.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    if message.contains("failed quota") && message.contains("must specify") {
        return Some(
            "the namespace asks for limits: set TYPE_MEMORY_LIMIT and TYPE_CPU_LIMIT of each type, or MEMORY_LIMIT \
             and CPU_LIMIT, or give the namespace defaults by a LimitRange",
        );
    }
    let is_exceeded = message.contains("exceeded quota");
    is_exceeded.then_some(ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_reason_and_a_hint() {
        let told = "Error creating: pods \"a-7\" is forbidden: exceeded quota: q, requested: pods=1";
        assert_eq!(reason_of(told), "exceeded quota: q, requested: pods=1");
        assert_eq!(hint(reason_of(told)), Some(ROOM));
        assert_eq!(deploy_hint(reason_of(told)), Some(ROOM_FOR_DEPLOY));
        let told = "pods \"a-7\" is forbidden: failed quota: q: must specify limits.memory for: web";
        assert!(hint(told).is_some_and(|hint| hint.contains("TYPE_MEMORY_LIMIT")));
        assert_eq!(hint(told), deploy_hint(told));
        assert_eq!((reason_of("x"), hint("x"), deploy_hint("x")), ("x", None, None));
    }
}
