//! Go: a module through the proxy with its caches, a build with cgo, a server that runs where its tree is
//! read-only.

use crate::machine::programs;
use crate::scene::{Scene, users};
use crate::server::Server;
use crate::work::{builder, fetch, running, scene};

const MODULE: &str = "module example/app

go 1.18

require golang.org/x/sync v0.1.0
";

const SUM: &str = "golang.org/x/sync v0.1.0 h1:wsuoTGHzEhffawBOhz5CYhcrV4IdKZbEyZjBMuTp12o=
golang.org/x/sync v0.1.0/go.mod h1:RxMgew5VJxzue5/jJTE5uejpjVlOe/izrB70Jof72aM=
";

const SERVER: &str = r#"package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
)

func answer(w http.ResponseWriter, r *http.Request) {
	var sum int64
	var group errgroup.Group
	for n := 0; n < 1000; n++ {
		group.Go(func() error {
			atomic.AddInt64(&sum, 1)
			return nil
		})
	}
	group.Go(func() error { return exec.Command("true").Run() })
	group.Go(func() error {
		name, err := os.Hostname()
		if err == nil {
			_, err = net.LookupHost(name)
		}
		return err
	})
	group.Go(func() error {
		_, err := user.Current()
		return err
	})
	err := group.Wait()
	fmt.Fprint(w, sum, " ", err)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Handler: http.HandlerFunc(answer)}
	go server.Serve(listener)
	fmt.Printf("http://%s\n", listener.Addr())
	<-ended.Done()
	server.Shutdown(context.Background())
}
"#;

const BUILD: &str = "export GOCACHE=\"$HOME/cache/build\" GOMODCACHE=\"$HOME/cache/modules\" GOFLAGS=-modcacherw GOTOOLCHAIN=local
go build -o server . && test -d cache/build/00 && test -d cache/modules/golang.org";

#[test]
fn go() {
    let made = scene(builder(), &[("go.mod", MODULE), ("go.sum", SUM), ("main.go", SERVER)]);
    let Some(options) = programs(&made, &["go"]) else { return };
    if !fetch(&made, "a module of Go's", &options, BUILD) {
        return;
    }
    for user in users() {
        let scene = Scene::new(user);
        let server = Server::start(running(&scene, &made, &[], &["/app/server"]));
        assert_eq!(server.get("/"), "1000 <nil>");
        assert_eq!(server.end(), Some(0));
    }
}
