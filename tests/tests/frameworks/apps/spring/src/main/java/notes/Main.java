package notes;

import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.data.annotation.Id;
import org.springframework.data.repository.CrudRepository;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Main {
    static final String RELEASE = "one";
    final Notes notes;

    Main(Notes notes) {
        this.notes = notes;
    }

    public static void main(String[] args) {
        SpringApplication.run(Main.class, args);
    }

    @GetMapping("/")
    String page() {
        Stream<Note> all = StreamSupport.stream(notes.findAll().spliterator(), false);
        return Stream.concat(Stream.of(RELEASE), all.map(Note::text)).collect(Collectors.joining(" "));
    }

    @PostMapping("/")
    String add(@RequestBody String text) {
        notes.save(new Note(null, text));
        return page();
    }
}

record Note(@Id Long id, String text) {}

interface Notes extends CrudRepository<Note, Long> {}
