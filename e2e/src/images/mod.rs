//! The images of the bed: root file systems and programs, put together by [`oci`].

#[cfg(test)]
mod containerfile;
mod oci;
mod programs;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::runtime::Handle;

use self::oci::{Laid, Layer, Run};
use crate::{cache::Cache, command::output, privilege::builder, progress::Progress, provision::LIBRARIES};

pub use self::{
    oci::Image,
    programs::{BUILT, build_anew, build_programs},
};

/// Who runs in images that bring no user of their own.
const NOBODY: u32 = 65532;
/// The lines of `/etc/passwd` of an image that brings none, and of who runs.
const ROOT_LINE: &str = "root:x:0:0:root:/root:/bin/sh\n";
const NOBODYS_LINE: &str = "nonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
/// Where the product's programs lie in their images.
const OPERATOR: &str = "/usr/bin/dataembassy-operator";
const SIDECAR: &str = "/usr/bin/dataembassy-sidecar";
/// The root file system that the sidecar's image is made of; the operator's takes the C library out of it.
const SIDECARS_ROOT: &str = "sidecar";
/// Who runs PostgreSQL; its root file systems are made with this user.
const POSTGRES: u32 = 999;

/// The images that hold nothing of the product: the sandbox, PostgreSQL, MinIO and the stock tools.
pub async fn surroundings(cache: &Cache, progress: &Progress) -> Result<Vec<Image>> {
    let step = progress.step("images of PostgreSQL, MinIO and stock tools");
    let cache = cache.clone();
    let pack = move || {
        let _lock = cache.images_lock()?;
        let pause = build_pause(&cache)?;
        let packer = Packer::new(&cache)?;
        let minio = program(&cache.path("minio")?, "/usr/bin/minio")?;
        anyhow::Ok(vec![
            packer.pack(
                "pause:1",
                None,
                vec![program(&pause, "/pause")?],
                &run(&["/pause"], NOBODY),
            )?,
            packer.postgresql(15)?,
            packer.postgresql(17)?,
            packer.pack("minio:dev", None, vec![minio], &run(&["/usr/bin/minio"], NOBODY))?,
            packer.pack("stock:dev", Some("stock"), Vec::new(), &run(&["/bin/sh"], NOBODY))?,
        ])
    };
    let images = tokio::task::spawn_blocking(pack).await??;
    step.done();
    Ok(images)
}

/// Builds the product's programs and packs their images: operator and sidecar.
pub async fn product(cache: &Cache, progress: &Progress) -> Result<Vec<Image>> {
    let programs = build_programs(progress).await?;
    let cache = cache.clone();
    let pack = move || {
        let _lock = cache.images_lock()?;
        let packer = Packer::new(&cache)?;
        let mut files = c_library(&cache.path(&format!("rootfs-{SIDECARS_ROOT}"))?)?;
        files.push(program(&programs.join("dataembassy-operator"), OPERATOR)?);
        let sidecar_file = program(&programs.join("dataembassy-sidecar"), SIDECAR)?;
        anyhow::Ok(vec![
            packer.pack("operator:dev", None, files, &run(&[OPERATOR], NOBODY))?,
            packer.pack(
                "sidecar:dev",
                Some(SIDECARS_ROOT),
                vec![sidecar_file],
                &run(&[SIDECAR], NOBODY),
            )?,
        ])
    };
    tokio::task::spawn_blocking(pack).await?
}

struct Packer<'a> {
    cache: &'a Cache,
    folder: PathBuf,
}

impl<'a> Packer<'a> {
    fn new(cache: &'a Cache) -> Result<Self> {
        let folder = cache.images();
        fs::create_dir_all(&folder)?;
        Ok(Self { cache, folder })
    }

    fn pack(&self, name: &str, base: Option<&str>, mut files: Vec<Laid>, run: &Run) -> Result<Image> {
        let mut layers = Vec::new();
        let mut users = ROOT_LINE.to_owned();
        if let Some(base) = base {
            let root = self.cache.path(&format!("rootfs-{base}"))?;
            layers.push(Layer::of_root_file_system(&root, &self.folder)?);
            users = fs::read_to_string(root.join("etc/passwd"))?;
        }
        if run.user == NOBODY {
            // ssh-keygen, for one, does nothing for a user without a name.
            users.push_str(NOBODYS_LINE);
            files.push(Laid {
                to: "/etc/passwd".into(),
                content: users.into_bytes(),
                mode: 0o644,
            });
        }
        layers.push(Layer::of_files(&files, &self.folder, &name.replace(':', "-"))?);
        Image::new(&format!("dataembassy.local/{name}"), layers, run)
    }

    fn postgresql(&self, major: u32) -> Result<Image> {
        let start = "/usr/local/bin/start-postgresql";
        let script = Laid {
            to: start.into(),
            content: include_bytes!("postgresql.sh").to_vec(),
            mode: 0o755,
        };
        let mut run = run(&[start], POSTGRES);
        run.environment.push(format!("POSTGRESQL_MAJOR={major}"));
        self.pack(
            &format!("postgresql:{major}"),
            Some(&format!("postgresql-{major}")),
            vec![script],
            &run,
        )
    }
}

fn run(entrypoint: &[&'static str], user: u32) -> Run {
    Run {
        entrypoint: entrypoint.to_vec(),
        environment: Vec::new(),
        user,
    }
}

fn program(from: &Path, to: &str) -> Result<Laid> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    Ok(Laid {
        to: to.to_owned(),
        content,
        mode: 0o755,
    })
}

/// All that a Rust program loads at run time. An image with nothing else has nothing to attack.
fn c_library(root: &Path) -> Result<Vec<Laid>> {
    let loader = if cfg!(target_arch = "aarch64") {
        "/lib/ld-linux-aarch64.so.1"
    } else {
        "/lib64/ld-linux-x86-64.so.2"
    };
    let mut files = Vec::new();
    for path in [loader.to_owned()]
        .into_iter()
        .chain(["libc.so.6", "libm.so.6", "libgcc_s.so.1"].map(|name| format!("/lib/{LIBRARIES}/{name}")))
    {
        // A root file system's /lib is a link to usr/lib, which must not be followed out of it.
        let inside = path.trim_start_matches('/');
        files.push(program(&root.join("usr").join(inside), &path)?);
    }
    Ok(files)
}

/// Compiles the sandbox program, static so that its image holds nothing else. Blocks.
fn build_pause(cache: &Cache) -> Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/images/pause.rs");
    let folder = cache.tool("pause", "1");
    let built = folder.join("pause");
    if !built.exists() {
        fs::create_dir_all(&folder)?;
        crate::privilege::hand_over(&folder)?;
        let mut rustc = builder("rustc");
        rustc.args([
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-o",
        ]);
        Handle::current().block_on(output(rustc.arg(&built).arg(source)))?;
    }
    Ok(built)
}
