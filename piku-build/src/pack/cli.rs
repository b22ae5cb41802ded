//! The command line of `pack`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_layout::settings::HostSettings;
use piku_release::target::AskedArchitecture;
use piku_report::user_error::UserError;

use super::image::{self, ImageRequest, parse_name};
use super::write::{self, PackScope, PackSource};

#[derive(Args)]
pub(crate) struct PackArgs {
    /// The release's folder; an image may have several, one for each architecture
    #[arg(required = true, value_name = "RELEASE")]
    releases: Vec<PathBuf>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: PackedForm,
    /// Where its layers are kept
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    /// Part to pack: 'whole'; 'head', its kind and requirements as JSON; 'release', without its layers; or
    /// the key of a layer
    #[arg(long, value_name = "PART", default_value = "whole", value_parser = part)]
    part: PackScope,
    #[command(flatten, next_help_heading = "Options for images")]
    image: ImagePackArgs,
}

/// Form of a packed release.
#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum PackedForm {
    /// A stream for 'piku-build unpack'
    #[default]
    Piku,
    /// A container image
    Oci,
}

#[derive(Args)]
struct ImagePackArgs {
    /// Name of the image, such as registry.example.org/blog:12 [default: APP:NUMBER]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    tag: Option<String>,
    /// Base of the image: a directory with a system, a tar archive of one, or an image of 'skopeo copy' or
    /// 'docker save' [default: Debian's packages that the release needs, by mmdebstrap]
    #[arg(long, value_name = "BASE")]
    base: Option<PathBuf>,
    /// Where bases of Debian are kept [default: ~/.piku/bases]
    #[arg(long, value_name = "DIR")]
    bases: Option<PathBuf>,
    /// This machine's settings, which limit the space for images [default: ~/.piku/host.yaml]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Package of Debian that the base has as well
    #[arg(long = "package", value_name = "NAME", value_parser = package)]
    packages: Vec<String>,
    /// Make the base anew, with the updates since it was made
    #[arg(long, conflicts_with = "base")]
    new_base: bool,
    /// The architecture of the machine that will run it, by uname's or Debian's name: amd64, arm64, armhf, armv6l;
    /// several are one image for all of them [default: the release's, or this machine's]
    #[arg(long = "architecture", value_name = "NAME", value_delimiter = ',', value_parser = AskedArchitecture::parse)]
    architectures: Vec<AskedArchitecture>,
}

impl ImagePackArgs {
    /// Returns whether any of them was typed.
    fn is_used(&self) -> bool {
        self.tag.is_some()
            || self.base.is_some()
            || self.bases.is_some()
            || self.settings.is_some()
            || !self.packages.is_empty()
            || self.new_base
            || !self.architectures.is_empty()
    }
}

/// Reads the settings in a file, or those of the default root.
fn read_settings(path: Option<PathBuf>) -> anyhow::Result<HostSettings> {
    let of_root = || {
        let root = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
        PikuRoot::new(root).ok().map(|root| root.settings())
    };
    path.or_else(of_root).map_or_else(|| Ok(HostSettings::default()), |path| HostSettings::read(&path))
}

/// Parses the name of a package of Debian.
fn package(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte);
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("expected a package's name".to_owned())
    }
}

impl PackArgs {
    /// Does what the command line says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Self { mut releases, format, layers, part, image } = self;
        let wrong = |what: &str| Err(UserError::new(what).code(2).into());
        if format == PackedForm::Oci {
            if part != PackScope::Whole {
                return wrong("--part is for --format piku: an image has all layers");
            }
            return image::run(&ImageRequest {
                releases,
                layers,
                architectures: image.architectures.into_iter().map(|asked| asked.0).collect(),
                tag: image.tag,
                base: image.base,
                bases: image.bases,
                packages: image.packages,
                new_base: image.new_base,
                settings: read_settings(image.settings)?,
            });
        }
        if image.is_used() {
            return wrong("the options for images need --format oci");
        }
        match (releases.pop(), releases.is_empty()) {
            (Some(release), true) => write::run(&PackSource { release, layers, part }),
            _ => wrong("several releases can be in one image only: --format oci"),
        }
    }
}

fn part(text: &str) -> Result<PackScope, String> {
    match text {
        "whole" => Ok(PackScope::Whole),
        "head" => Ok(PackScope::Head),
        "release" => Ok(PackScope::Release),
        key if key.len() == 64 => Ok(PackScope::Layer(key.to_owned())),
        _ => Err("expected 'whole', 'head', 'release' or a layer's key of 64 digits".to_owned()),
    }
}
