//! Puts the compiled forms of installed packages beside their sources, from the store, or from a compiler in a jail.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use piku_files::{TreeError, TreeHandle};

use super::compile_jail;
use super::compiled_store::CompiledStore;
use super::source_groups::{self, CACHE, PackageSource, SourceGroup};
use crate::step::interrupt;
use crate::store::hash::CacheKey;

/// Increased when compiled forms are made or kept in another way.
const FORMAT: u32 = 1;

/// Compilation of the packages in a layer whose results apps share.
#[derive(Debug, Clone)]
pub(crate) struct SharedCompilation {
    /// Folder of the packages, in the layer.
    pub(crate) folder: PathBuf,
    /// Path at which processes see the layer.
    pub(crate) mount: PathBuf,
    /// The compiler, with its arguments. For each source in its input, it writes the length of the compiled form and the
    /// form, which is empty where the source does not compile. Before them it writes the number of the form's version.
    pub(crate) run: Vec<String>,
    /// Folders of this machine that the compiler needs.
    pub(crate) host: Vec<PathBuf>,
    /// Hash of what determines the compiled forms besides the sources.
    pub(crate) compiler: String,
    /// End of the name of a compiled file: `.cpython-311.pyc`.
    pub(crate) ending: String,
    /// False if packages are parts of the app: nothing is added to the store then.
    pub(crate) is_public: bool,
}

impl SharedCompilation {
    /// Returns the path at which processes see the packages.
    pub(super) fn packages(&self) -> PathBuf {
        self.mount.join(&self.folder)
    }

    /// Returns the key of the compiled form of these sources.
    fn key(&self, sources: &[PackageSource]) -> String {
        let mut key = CacheKey::new("compiled", FORMAT);
        key.field("compiler", self.compiler.as_bytes());
        key.field("packages", self.packages().as_os_str().as_encoded_bytes());
        for source in sources {
            key.field("path", source.path.as_os_str().as_encoded_bytes());
            key.field("source", &source.content);
        }
        key.finish()
    }
}

/// Compiles the packages in one layer.
pub(crate) struct PackageCompiler<'a> {
    pub(crate) plan: &'a SharedCompilation,
    pub(crate) store: CompiledStore,
    /// Memory limit of a build step.
    pub(crate) memory: Option<&'a str>,
}

impl PackageCompiler<'_> {
    /// Adds compiled files to a layer that no process writes to. What cannot be compiled here is left to the layer's own step,
    /// for whatever reason.
    ///
    /// # Errors
    /// Fails if the build is interrupted.
    pub(crate) fn compile_layer(&self, layer: &TreeHandle) -> anyhow::Result<()> {
        let Ok(packages) = layer.subtree(&self.plan.folder) else { return Ok(()) };
        let groups = source_groups::find_groups(&packages, &self.plan.ending);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(groups.len());
        let groups = Mutex::new(groups);
        let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            while let Some(group) = next().filter(|_| interrupt::check().is_ok()) {
                let _ = self.compile_group(&packages, &group);
            }
        };
        // Each waits for the jails that it has started, which end with their thread.
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        self.store.trim();
        interrupt::check()
    }

    fn compile_group(&self, packages: &TreeHandle, group: &SourceGroup) -> anyhow::Result<()> {
        let sources = group.read(packages)?;
        let key = self.plan.key(&sources);
        if let Some(made) = self.store.read(&key) {
            if let Some(forms) = CompiledForms::parse(&made, sources.len()) {
                return Ok(self.write_files(packages, &sources, &forms)?);
            }
        }
        if !self.plan.is_public || !self.store.can_add() {
            return Ok(());
        }
        let made = compile_jail::compile(self.plan, self.memory, &sources)?;
        let forms = CompiledForms::parse(&made, sources.len()).context("the compiler's output is broken")?;
        // Without a place in the store, this app has it.
        let _ = self.store.add(&key, &made);
        Ok(self.write_files(packages, &sources, &forms)?)
    }

    /// Writes the compiled files. Each replaces none: the sources had none.
    fn write_files(
        &self,
        packages: &TreeHandle,
        sources: &[PackageSource],
        forms: &CompiledForms<'_>,
    ) -> Result<(), TreeError> {
        let mut open: Option<(&Path, TreeHandle)> = None;
        for (source, form) in sources.iter().zip(&forms.forms).filter(|(_, form)| !form.is_empty()) {
            let folder = source.path.parent().unwrap_or(Path::new(""));
            let cache = match open.take().filter(|(path, _)| *path == folder) {
                Some((_, cache)) => cache,
                None => open_cache(packages, folder)?,
            };
            let stem = source.path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{stem}{}", self.plan.ending);
            cache.write(name, forms.to_file(source, form), source.mode & 0o666 | 0o200)?;
            open = Some((folder, cache));
        }
        Ok(())
    }
}

/// Opens the folder for compiled files in `folder`, which is made if it is missing.
fn open_cache(packages: &TreeHandle, folder: &Path) -> Result<TreeHandle, TreeError> {
    let folder = packages.subtree(folder)?;
    // Another group may have files in it, too.
    match folder.create_dir(CACHE) {
        Err(err) if err.kind() != std::io::ErrorKind::AlreadyExists => Err(err),
        _ => folder.subtree(CACHE),
    }
}

/// The output of a compiler.
#[derive(Debug, PartialEq, Eq)]
struct CompiledForms<'a> {
    version: [u8; 4],
    /// Compiled forms in the order of the sources; empty where a source does not compile.
    forms: Vec<&'a [u8]>,
}

impl<'a> CompiledForms<'a> {
    /// Parses the output for this number of sources. `None` if it is anything else.
    fn parse(made: &'a [u8], count: usize) -> Option<Self> {
        let (version, mut rest) = made.split_first_chunk::<4>()?;
        let mut forms = Vec::with_capacity(count);
        for _ in 0..count {
            let (len, more) = rest.split_first_chunk::<4>()?;
            let (form, more) = more.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
            forms.push(form);
            rest = more;
        }
        rest.is_empty().then_some(Self { version: *version, forms })
    }

    /// Returns the compiled file: Python takes it for one of this source by its date and length, as for the files that Python
    /// writes.
    fn to_file(&self, source: &PackageSource, form: &[u8]) -> Vec<u8> {
        let seconds = source.modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut file = Vec::with_capacity(16 + form.len());
        file.extend(self.version);
        file.extend([0; 4]);
        for number in [seconds, source.content.len() as u64] {
            file.extend(&number.to_le_bytes()[..4]);
        }
        file.extend(form);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const PACKAGES: &str = "lib/site-packages";

    /// Compiles by a compiler that is not there: all forms are from the store.
    struct StoreTest {
        dir: tempfile::TempDir,
        plan: SharedCompilation,
    }

    impl StoreTest {
        fn new() -> Self {
            let plan = SharedCompilation {
                folder: PathBuf::from(PACKAGES),
                mount: PathBuf::from("/layers/venv"),
                run: vec!["/nowhere".to_owned()],
                host: Vec::new(),
                compiler: "c".to_owned(),
                ending: ".cpython-311.pyc".to_owned(),
                is_public: true,
            };
            let test = Self { dir: tempfile::tempdir().unwrap(), plan };
            for name in ["a", "b", "deep/c"] {
                let path = test.packages().join("big").join(name).with_extension("py");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, vec![b'#'; 100 << 10]).unwrap();
            }
            test
        }

        fn packages(&self) -> PathBuf {
            self.dir.path().join("layer").join(PACKAGES)
        }

        fn compiler(&self) -> PackageCompiler<'_> {
            let store = CompiledStore::open(self.dir.path(), 0);
            PackageCompiler { plan: &self.plan, store, memory: None }
        }

        /// Puts a compiled form of each source that the layer has now into the store.
        fn fill_store(&self) {
            let packages = TreeHandle::open(&self.packages()).unwrap();
            for group in source_groups::find_groups(&packages, &self.plan.ending) {
                let sources = group.read(&packages).unwrap();
                let mut made = b"vers".to_vec();
                for source in &sources {
                    let form = format!("form of {}", source.path.display());
                    made.extend(u32::try_from(form.len()).unwrap().to_le_bytes());
                    made.extend(form.into_bytes());
                }
                self.compiler().store.add(&self.plan.key(&sources), &made).unwrap();
            }
        }

        fn compile(&self) {
            let layer = TreeHandle::open(&self.dir.path().join("layer")).unwrap();
            self.compiler().compile_layer(&layer).unwrap();
        }
    }

    #[test]
    fn compiled_files_are_those_of_the_sources_beside_them() {
        let test = StoreTest::new();
        test.fill_store();
        let source = test.packages().join("big/a.py");
        let file = fs::File::open(&source).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::new(0x6543_2100, 999)).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o444)).unwrap();
        test.compile();
        let made = test.packages().join("big/__pycache__/a.cpython-311.pyc");
        let header = [0, 0, 0, 0, 0x00, 0x21, 0x43, 0x65, 0x00, 0x90, 0x01, 0x00];
        let expected = [b"vers".as_slice(), &header, b"form of big/a.py"].concat();
        assert_eq!(fs::read(&made).unwrap(), expected);
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(test.packages().join("big/deep/__pycache__/c.cpython-311.pyc").exists());
        // Another file in one place: none of the group is taken.
        let other = StoreTest::new();
        fs::write(other.packages().join("big/b.py"), vec![b' '; 100 << 10]).unwrap();
        fs::rename(test.dir.path().join("compiled"), other.dir.path().join("compiled")).unwrap();
        other.compile();
        assert!(!other.packages().join("big/__pycache__").exists());
    }

    #[test]
    fn nothing_is_written_elsewhere_and_nothing_is_replaced() {
        let test = StoreTest::new();
        test.fill_store();
        let outside = test.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a.cpython-311.pyc"), "of another").unwrap();
        let cache = test.packages().join("big/__pycache__");
        symlink(&outside, &cache).unwrap();
        test.compile();
        fs::remove_file(&cache).unwrap();
        // A link that stays in the layer, to where a program would find modules of its own.
        symlink("../big/deep", &cache).unwrap();
        test.compile();
        fs::remove_file(&cache).unwrap();
        assert_eq!(fs::read_dir(test.packages().join("big/deep")).unwrap().count(), 1);

        // The packages as a whole lead out.
        let aside = test.dir.path().join("aside");
        fs::rename(test.packages(), &aside).unwrap();
        symlink(&aside, test.packages()).unwrap();
        test.compile();
        fs::remove_file(test.packages()).unwrap();
        fs::rename(&aside, test.packages()).unwrap();
        assert!(!cache.exists());

        // A package that is replaced after its sources were read.
        let packages = TreeHandle::open(&test.packages()).unwrap();
        let group = &source_groups::find_groups(&packages, &test.plan.ending)[0];
        let sources = group.read(&packages).unwrap();
        fs::rename(test.packages().join("big"), &aside).unwrap();
        symlink(&outside, test.packages().join("big")).unwrap();
        let made = test.compiler().store.read(&test.plan.key(&sources)).unwrap();
        let forms = CompiledForms::parse(&made, sources.len()).unwrap();
        assert!(test.compiler().write_files(&packages, &sources, &forms).is_err());
        fs::remove_file(test.packages().join("big")).unwrap();
        fs::rename(&aside, test.packages().join("big")).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);

        // What the package brings along stays, also a link.
        fs::create_dir(&cache).unwrap();
        symlink(outside.join("a.cpython-311.pyc"), cache.join("a.cpython-311.pyc")).unwrap();
        fs::write(cache.join("b.cpython-311.pyc"), "its own").unwrap();
        test.fill_store();
        test.compile();
        assert_eq!(fs::read_to_string(cache.join("a.cpython-311.pyc")).unwrap(), "of another");
        assert_eq!(fs::read_to_string(cache.join("b.cpython-311.pyc")).unwrap(), "its own");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn the_key_is_the_content_the_paths_and_the_compiler() {
        let test = StoreTest::new();
        let source = |path: &str, content: &str| PackageSource {
            path: PathBuf::from(path),
            content: content.into(),
            modified: UNIX_EPOCH,
            mode: 0o644,
        };
        let key = |plan: &SharedCompilation, a: &str, b: &str| plan.key(&[source(a, b), source("c", "")]);
        let plan = &test.plan;
        let mut keys = vec![
            key(plan, "a", "b"),
            key(plan, "a", "c"),
            key(plan, "b", "b"),
            key(&SharedCompilation { compiler: "d".to_owned(), ..plan.clone() }, "a", "b"),
            key(&SharedCompilation { mount: PathBuf::from("/elsewhere"), ..plan.clone() }, "a", "b"),
            plan.key(&[source("a", "b")]),
        ];
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn only_complete_output_is_taken() {
        let made = [b"vers".as_slice(), &[2, 0, 0, 0], b"ab", &[0; 4], &[1, 0, 0, 0], b"c"].concat();
        let forms = CompiledForms::parse(&made, 3).unwrap();
        assert_eq!(
            (forms.version, forms.forms.as_slice()),
            (*b"vers", [b"ab".as_slice(), b"", b"c"].as_slice())
        );
        for count in [0, 1, 2, 4] {
            assert_eq!(CompiledForms::parse(&made, count), None, "{count}");
        }
        for len in 0..made.len() {
            assert_eq!(CompiledForms::parse(&made[..len], 3), None, "{len}");
        }
        let huge = [b"vers".as_slice(), &[0xff; 4], b"a"].concat();
        assert_eq!(CompiledForms::parse(&huge, 1), None);
    }
}
