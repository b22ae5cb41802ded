//! Go apps with the real go: pushed, built with their dependencies, served, and built again in a moment.

use piku_tests::repo::Repo;
use piku_tests::snapshot::str;
use piku_tests::world::World;

const MODULE: &str = "module example.org/shop\n\ngo 1.17\n\nrequire github.com/dustin/go-humanize v1.0.1\n";
const SUMS: &str = "github.com/dustin/go-humanize v1.0.1 h1:GzkhY7T5VNhEkwH0PVJgjz+fX1rhBrR7pRT3mDkpeCY=\n\
                    github.com/dustin/go-humanize v1.0.1/go.mod h1:Mu1zIs6XwVuF/gI1OepvI0qD18qycQx+mFykh5fBlto=\n";
/// Plain sockets: compiling all of net/http takes half a minute.
const WEB: &str = r#"package main

import (
	"bufio"
	"fmt"
	"net"
	"os"

	"example.org/shop/greet"
	"github.com/dustin/go-humanize"
)

var commit = "unknown"

func main() {
	listener, err := net.Listen("tcp", os.Getenv("BIND_ADDRESS")+":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		request := bufio.NewReader(client)
		for line, err := request.ReadString('\n'); err == nil && line != "\r\n"; line, err = request.ReadString('\n') {
		}
		page, _ := os.ReadFile("static/page")
		_, err = os.Stat("go.mod")
		body := fmt.Sprintf("%s the %s: %s, sources: %t, commit: %t\n", greet.Hello(), humanize.Ordinal(1), page, err == nil, len(commit) == 40)
		fmt.Fprintf(client, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		client.Close()
	}
}
"#;
const GREET: &str = "package greet\n\nfunc Hello() string { return \"hello\" }\n";
const TICK: &str = "package main\n\nimport (\n\t\"fmt\"\n\t\"time\"\n)\n\nfunc main() {\n\tfmt.Println(\"ticks\")\n\ttime.Sleep(time.Hour)\n}\n";

fn shop(world: &World) -> Repo {
    let repo = world.repo("shop");
    repo.file("go.mod", MODULE)
        .file("go.sum", SUMS)
        .file("cmd/web/main.go", WEB)
        .file("cmd/tick/tick.go", TICK)
        .file("cmd/old/old.go", "//go:build windows\n\npackage main\n\nfunc main() {}\n")
        .file("greet/greet.go", GREET)
        .file("static/page", "one");
    repo
}

#[test]
fn go_module_is_rebuilt_incrementally() {
    let world = World::new();
    let repo = shop(&world);
    // As Procfiles of the field have it: on PATH, and by a path that only the build makes.
    repo.file("Procfile", "web: ./web\nworker: tick\n").commit("One");
    let said = repo.push().succeeds();
    for text in [
        "-----> Go app detected: there is a go.mod",
        "(go in go.mod)",
        "downloading github.com/dustin/go-humanize",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert_eq!(world.page("shop"), "hello the 1st: one, sources: false, commit: true\n");
    assert_eq!(world.ps("shop").len(), 2, "{:#?}", world.ps("shop"));

    repo.file("greet/greet.go", GREET.replace("hello", "goodbye")).file("static/page", "two").commit("Two");
    let said = repo.push().succeeds();
    assert!(!said.contains("downloading"), "{said}");
    assert_eq!(world.page("shop"), "goodbye the 1st: two, sources: false, commit: true\n");

    // What go itself says of the code is what its author reads, and the old release serves on.
    repo.file("greet/greet.go", "package greet\n\nfunc Hello() string { return 1 }\n").commit("Three");
    repo.push().fails_with(&["greet/greet.go:3:", "step 'go' failed"]);
    assert_eq!(world.page("shop"), "goodbye the 1st: two, sources: false, commit: true\n");

    let back = world.tool("piku-run").args(["rollback", "shop", "1"]).output().expect("rollback");
    assert!(back.status.success(), "{back:?}");
    assert_eq!(world.page("shop"), "hello the 1st: one, sources: false, commit: true\n");
}

#[test]
fn go_build_errors_are_explained() {
    let world = World::new();
    let repo = shop(&world);
    let told = |name: &str, text: &str, expected: &[&str]| {
        repo.file(name, text).commit(name).push().fails_with(expected);
    };
    // No Procfile and two programs, none of them called web.
    repo.git(&["mv", "-k", "cmd/web", "cmd/site"]);
    std::fs::rename(repo.path().join("cmd/web"), repo.path().join("cmd/site")).expect("cmd/site");
    repo.commit("One").push().fails_as(str![[r#"
-----> Go app detected: there is a go.mod
       Sandbox: [PROTECTIONS]
 !     this is a Go app without a Procfile, and it is not obvious which of its programs to start: site, tick
 !     hint: add a file 'Procfile' with a line for each process, for example 'web: bin/site'
 !     deploy 1 of shop failed at: build (exit 1); nothing was changed
 * [new branch]      main -> main
"#]]);
    told("Procfile", "web: bin/wep\n", &["'bin/wep' does not exist"]);
    told("go.sum", "", &["go.mod and go.sum do not list all", "missing go.sum entry", "go mod tidy"]);
    told("go.mod", &MODULE.replace("go 1.17", "go 1.17\n\ntoolchain go1.999.0"), &["1.999.0"]);

    // Nothing but what a tag hides: `go build ./...` would end well.
    let repo = world.repo("tagged");
    repo.file("go.mod", "module example.org/tagged\n\ngo 1.17\n")
        .file("main.go", "//go:build web\n\npackage main\n\nfunc main() {}\n")
        .file("Procfile", "web: bin/tagged\n")
        .commit("One");
    repo.push().fails_with(&["no folder has a 'package main' that is built", "GOFLAGS=-tags=TAG"]);
}
