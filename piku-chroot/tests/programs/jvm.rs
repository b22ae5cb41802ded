//! The JVM: the compiler, G1 with threads, what other tools see of a running one, Maven with its repository.

use crate::machine::programs;
use crate::scene::{Scene, users};
use crate::work::{build, builder, fetch, scene, works};

const MAIN: &str = r#"package app;

import java.nio.file.*;
import java.util.*;
import java.util.stream.*;

public class Main {
    public static void main(String[] args) throws Exception {
        // Enough to be collected several times.
        Thread[] threads = new Thread[8];
        long[] sums = new long[threads.length];
        for (int t = 0; t < threads.length; t++) {
            int own = t;
            threads[t] = new Thread(() -> {
                List<byte[]> kept = new LinkedList<>();
                for (int n = 0; n < 2000; n++) {
                    kept.add(new byte[10_000]);
                    if (kept.size() > 100) kept.remove(0);
                    sums[own] += n;
                }
            });
            threads[t].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println(LongStream.of(sums).sum() + " " + IntStream.range(0, 1000).parallel().sum());
        String pid = String.valueOf(ProcessHandle.current().pid());
        Path data = Path.of("/tmp", "hsperfdata_" + System.getProperty("user.name"), pid);
        System.out.println(Files.size(data) > 0 && output("jps").contains(pid + " Main"));
        System.out.println(output("jcmd", pid, "VM.flags").contains("-XX:+UseG1GC"));
        System.out.println(Files.isDirectory(Path.of(System.getProperty("user.home"))));
        System.out.println(java.net.InetAddress.getLocalHost().isLoopbackAddress());
    }

    static String output(String... command) throws Exception {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        return new String(process.getInputStream().readAllBytes());
    }
}
"#;

/// G1 also where the machine is small, and not more memory where it is large.
const FLAGS: &str = "-XX:+UseG1GC -Xms16m -Xmx64m -XX:MaxMetaspaceSize=64m -XX:ReservedCodeCacheSize=32m";

const PROJECT: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>app</groupId>
  <artifactId>app</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.source>11</maven.compiler.source>
    <maven.compiler.target>11</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
</project>
"#;

#[test]
fn jvm() {
    let made = scene(builder(), &[("src/main/java/app/Main.java", MAIN)]);
    let Some(options) = programs(&made, &["javac", "java", "jps", "jcmd"]) else { return };
    let outcome = build(&made, &options, "javac -d classes src/main/java/app/Main.java");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    for user in users() {
        let scene = Scene::new(user);
        let out = works(&scene, &made, &options, &format!("java {FLAGS} -cp classes app.Main"));
        assert_eq!(out, "15992000 499500\ntrue\ntrue\ntrue\ntrue\n", "{user:?}");
    }
}

#[test]
fn maven() {
    let made = scene(builder(), &[("src/main/java/app/Main.java", MAIN), ("pom.xml", PROJECT)]);
    let Some(options) = programs(&made, &["mvn", "javac"]) else { return };
    if fetch(
        &made,
        "Maven's plugins",
        &options,
        "mvn -q -B package && test -d .m2/repository && test -s target/app-1.jar",
    ) {
        let scene = Scene::new(builder());
        let out = works(&scene, &made, &options, &format!("java {FLAGS} -cp target/app-1.jar app.Main"));
        assert!(out.starts_with("15992000 499500\n"), "{out}");
    }
}
