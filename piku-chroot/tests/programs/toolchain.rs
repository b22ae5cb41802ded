//! The tools of build steps: git, tar, a C compiler, make, and other small tools.

use crate::machine::programs;
use crate::scene::users;
use crate::work::{build, scene};

const GIT: &str = "
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
git init -q first
echo content >first/file
git -C first add file
git -C first commit -q -m 'A commit'
git clone -q first second 2>&1
git -C second log --format=%s
git -C second gc -q
git -C second fsck 2>&1
";

const TAR: &str = "
mkdir tree && echo content >tree/file && ln -s file tree/link && mkfifo tree/fifo
tar czf tree.tgz tree && mkdir other && tar xzf tree.tgz -C other
diff tree/file other/tree/file && readlink other/tree/link && test -p other/tree/fifo
tar cJf tree.txz tree && tar tJf tree.txz | sort | tr '\\n' ' '
";

const PROGRAM: &str = r#"
#include <pthread.h>
#include <stdio.h>
static void *work(void *sum) { return __sync_fetch_and_add((int *)sum, 21), NULL; }
int main(void) {
    int sum = 0;
    pthread_t threads[2];
    for (int n = 0; n < 2; n++) if (pthread_create(&threads[n], NULL, work, &sum)) return 1;
    for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
    return printf("%d\n", sum) < 0;
}
"#;

const MAKEFILE: &str = "
check: program
\t@./program
program: program.c
\t@$(CC) -O2 -pthread -o $@ $<
";

const KEYS: &str = "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -l -f key.pub | grep -o ED25519";

const SERVE: &str = "
python3 -u -m http.server --bind 127.0.0.1 0 >log 2>&1 &
until port=$(sed -n 's/.* port \\([0-9]*\\) .*/\\1/p' log) && [ -n \"$port\" ]; do kill -0 $! && sleep 0.05; done
curl --silent --show-error --fail \"http://localhost:$port/tree/file\"
kill $!
";

const PERL: &str = r#"perl -MPOSIX -MSocket -e 'print join(" ", (getpwuid $<)[7], scalar(gethostbyname "localhost") ? "found" : $!), "\n"'"#;

/// A script, the programs that it needs, and what it prints.
const SCRIPTS: [(&[&str], &str, &str); 6] = [
    (&["git"], GIT, "A commit\n"),
    (&["tar", "gzip", "xz"], TAR, "file\ntree/ tree/fifo tree/file tree/link "),
    (&["make", "cc"], "make -s -j2", "42\n"),
    (&["ssh-keygen"], KEYS, "ED25519\n"),
    (&["python3", "curl"], SERVE, "content\n"),
    (&["perl"], PERL, "/app found\n"),
];

#[test]
fn tools_of_a_build_step() {
    for user in users() {
        let scene = scene(user, &[("program.c", PROGRAM), ("Makefile", MAKEFILE)]);
        for (names, script, expected) in SCRIPTS {
            let Some(options) = programs(&scene, names) else { continue };
            let outcome = build(&scene, &options, &format!("set -eu\n{script}"));
            assert_eq!(
                (outcome.code, outcome.out.as_str()),
                (Some(0), expected),
                "{user:?}: {}",
                outcome.err
            );
        }
    }
}
