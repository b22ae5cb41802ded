//! Java apps with the real JDK and Maven: pushed, built with their dependency, served without a Procfile, and built again in
//! the tree that is kept.

use piku_tests::snapshot::str;
use piku_tests::world::World;

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId>
  <artifactId>shop</artifactId>
  <version>1.0</version>
  <properties>
    <maven.compiler.release>11</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency><groupId>com.google.code.gson</groupId><artifactId>gson</artifactId><version>2.10.1</version></dependency>
  </dependencies>
  <build>
    <pluginManagement>
      <plugins>
        <plugin><artifactId>maven-resources-plugin</artifactId><version>3.3.1</version></plugin>
        <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.13.0</version></plugin>
        <plugin><artifactId>maven-surefire-plugin</artifactId><version>3.5.2</version></plugin>
        <plugin><artifactId>maven-jar-plugin</artifactId><version>3.4.2</version></plugin>
      </plugins>
    </pluginManagement>
    <plugins>
      <plugin>
        <artifactId>maven-shade-plugin</artifactId>
        <version>3.6.0</version>
        <executions>
          <execution>
            <phase>package</phase>
            <goals><goal>shade</goal></goals>
            <configuration>
              <transformers>
                <transformer implementation="org.apache.maven.plugins.shade.resource.ManifestResourceTransformer">
                  <mainClass>shop.Main</mainClass>
                </transformer>
              </transformers>
            </configuration>
          </execution>
        </executions>
      </plugin>
    </plugins>
  </build>
</project>
"#;
const MAIN: &str = r#"package shop;

import com.google.gson.Gson;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Main {
    public static void main(String[] args) throws Exception {
        String address = System.getenv("BIND_ADDRESS");
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress(address, port), 0);
        server.createContext("/", exchange -> {
            boolean resource = Main.class.getResource("/note.txt") != null;
            long megabytes = Runtime.getRuntime().maxMemory() >> 20;
            String body = new Gson().toJson(new String[] {"hello", "note " + resource, "small " + (megabytes < 200)}) + "\n";
            exchange.sendResponseHeaders(200, body.length());
            exchange.getResponseBody().write(body.getBytes());
            exchange.close();
        });
        server.start();
    }
}
"#;

#[test]
fn maven_app_is_rebuilt_incrementally() {
    let world = World::new();
    let repo = world.repo("shop");
    repo.file("pom.xml", POM)
        .file("build.gradle", "// an older way\n")
        .file("src/main/java/shop/Main.java", MAIN)
        .file("src/main/resources/note.txt", "a note\n")
        // Tests are not run: this one would fail.
        .file("src/test/java/shop/MainTest.java", "package shop;\n\nclass MainTest { }\n")
        .file("ENV", "MEMORY_LIMIT=1g\nWEB_MEMORY_LIMIT=256m\n")
        .commit("One");
    repo.push().succeeds_as(str![[r#"
-----> Java app detected: there is a pom.xml; it counts before build.gradle
       Sandbox: [PROTECTIONS]
-----> Java [VERSION] (maven.compiler.release in pom.xml)
...
       [INFO] BUILD SUCCESS
...
-----> Process types: web (by default, from the jar)
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> shop is live, release 1: http://127.0.0.1:[PORT]
 * [new branch]      main -> main
"#]]);
    assert_eq!(world.page("shop"), "[\"hello\",\"note true\",\"small true\"]\n");

    // A source that is gone is gone from the jar.
    repo.without("src/main/resources/note.txt");
    repo.file("src/main/java/shop/Main.java", MAIN.replace("hello", "goodbye"))
        // The Maven that it pins is not to be had.
        .file("mvnw", "#!/bin/sh\necho no such Maven\nexit 1\n")
        .commit("Two");
    let two = repo.push().succeeds();
    assert!(
        two.contains("no such Maven") && two.contains("mvnw cannot fetch the Maven that it pins"),
        "{two}"
    );
    assert_eq!(world.page("shop"), "[\"goodbye\",\"note false\",\"small true\"]\n");

    repo.file("system.properties", "java.runtime.version=99\n").commit("Three");
    repo.push().fails_with(&["java.runtime.version in system.properties asks for Java 99; this machine has"]);
    repo.file("system.properties", "").file(
        "pom.xml",
        POM.replace(
            "<artifactId>shop</artifactId>",
            "<artifactId>shop</artifactId>\n  <packaging>pom</packaging>",
        ),
    );
    repo.commit("Four").push().fails_with(&["mvn succeeded but made no jar"]);
    assert_eq!(world.page("shop"), "[\"goodbye\",\"note false\",\"small true\"]\n");
}

const BOOT: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>3.4.5</version>
    <relativePath/>
  </parent>
  <groupId>org.example</groupId>
  <artifactId>boot</artifactId>
  <version>0.0.1-SNAPSHOT</version>
  <properties><!-- <java.version>99</java.version> --><java.version>17</java.version></properties>
  <dependencies>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-web</artifactId></dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin><groupId>org.springframework.boot</groupId><artifactId>spring-boot-maven-plugin</artifactId></plugin>
    </plugins>
  </build>
</project>
"#;
const BOOT_MAIN: &str = r#"package boot;

import jakarta.servlet.http.HttpServletRequest;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Main {
    public static void main(String[] args) throws Exception {
        var context = SpringApplication.run(Main.class, args);
        address = context.getEnvironment().getProperty("server.address");
    }

    static String address;

    @GetMapping("/")
    String page() {
        return "spring on " + address + ", small " + ((Runtime.getRuntime().maxMemory() >> 20) < 400);
    }
}
"#;

#[test]
fn spring_boot_jar_is_recognised() {
    let world = World::new();
    let repo = world.repo("boot");
    repo.file("pom.xml", BOOT)
        .file("src/main/java/boot/Main.java", BOOT_MAIN)
        .file("ENV", "MEMORY_LIMIT=512m\n")
        .commit("One");
    let plan = repo.push_with(&["-o", "dry-run", "piku", "main"]).succeeds();
    let process = "-Dserver.port=$PORT $JAVA_OPTS -jar target/*.jar (the jar that is built)";
    assert!(plan.contains(process), "{plan}");
    // As in development: Maven would compile at each start.
    repo.file("Procfile", "web: mvn -q spring-boot:run -Dspring-boot.run.profiles=prod\n").commit("Two");
    let pushed = repo.push().succeeds();
    assert!(pushed.contains("the program that this build makes is started instead"), "{pushed}");
    assert_eq!(world.page("boot"), "spring on 127.0.0.1, small true");
    let started =
        std::fs::read_to_string(world.app("boot").join("current/release.yaml")).expect("release.yaml");
    let command = "-Dspring.profiles.active=prod -jar target/boot-0.0.1-SNAPSHOT.jar";
    assert!(started.contains(command), "{started}");
}

#[test]
fn gradle_app_is_rebuilt_incrementally() {
    let world = World::new();
    let repo = world.repo("shop");
    let build = "apply plugin: 'java'\nversion = '1.0'\nsourceCompatibility = '11'\njar { manifest { attributes 'Main-Class': 'shop.Main' } }\n";
    let main = MAIN.replace("import com.google.gson.Gson;\n", "").replace(
        "new Gson().toJson(new String[] {\"hello\", \"note \" + resource, \"small \" + (megabytes < 200)})",
        "\"gradle\"",
    );
    repo.file("settings.gradle", "rootProject.name = 'shop'\n")
        .file("build.gradle", build)
        .file("src/main/java/shop/Main.java", &main)
        .commit("One");
    repo.push().succeeds_as(str![[r#"
-----> Java app detected: there is a build.gradle
       Sandbox: [PROTECTIONS]
-----> Java [VERSION] (sourceCompatibility in build.gradle)
...
-----> Process types: web (by default, from the jar)
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> shop is live, release 1: http://127.0.0.1:[PORT]
 * [new branch]      main -> main
"#]]);
    assert_eq!(world.page("shop"), "gradle\n");

    repo.file("build.gradle", build.replace("1.0", "1.1"))
        .file("src/main/java/shop/Main.java", main.replace("gradle", "again"))
        .file("Procfile", "web: java -jar build/libs/*.jar\n")
        .commit("Two");
    repo.push().succeeds();
    assert_eq!(world.page("shop"), "again\n");
    let libs = world.app("shop").join("current/app/build/libs");
    let names: Vec<_> =
        libs.read_dir().expect("libs").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["shop-1.1.jar"]);
}

#[test]
fn single_class_runs_and_wrapper_download_fails() {
    let world = World::new();
    let lone = world.repo("lone");
    let main = MAIN.replace("package shop;\n\nimport com.google.gson.Gson;\n", "").replace(
        "new Gson().toJson(new String[] {\"hello\", \"note \" + resource, \"small \" + (megabytes < 200)})",
        "\"lone\"",
    );
    lone.file("Main.java", main).commit("One").push().succeeds();
    assert_eq!(world.page("lone"), "lone\n");

    // The wrapper's own script would fetch a Gradle; here nobody answers.
    let repo = world.repo("wrapped");
    repo.file("settings.gradle", "include 'web'\n")
        .file("web/build.gradle", "plugins { id 'application' }\n")
        .program("gradlew", "#!/bin/sh\necho 'Exception in thread \"main\" java.net.UnknownHostException: wrapper.invalid'\necho ' at org.gradle.wrapper.Download' \"$@\"\nexit 1\n")
        .commit("One");
    repo.push().fails_with(&[
        "installDist --no-daemon",
        "the wrapper cannot fetch the version of the tool that it pins",
    ]);
    // An old Gradle says that all is well when it was asked for nothing.
    repo.program("gradlew", "#!/bin/sh\necho 'BUILD SUCCESSFUL in 1s'\n").commit("Two");
    repo.push().fails_with(&["gradle succeeded but made no jar"]);
}
