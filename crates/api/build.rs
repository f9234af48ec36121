//! Compresses the page, so that the program holds it as it is sent, and names each file's content for `ETag`.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{Result, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=page");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = Vec::new();
    collect(Path::new("page"), &mut files)?;
    files.sort();
    let mut table = String::from("pub(crate) const FILES: &[PageFile] = &[\n");
    for (index, file) in files.iter().enumerate() {
        let plain = fs::read(file)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        let compressed = out.join(format!("{index}.gz"));
        fs::write(&compressed, encoder.finish()?)?;
        let etag: String = Sha256::digest(&plain).iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let name = file.strip_prefix("page").unwrap_or(file).display().to_string();
        let absolute = fs::canonicalize(file)?;
        let _ = writeln!(
            table,
            "    PageFile {{ name: {name:?}, etag: \"\\\"{etag}\\\"\", plain: include_bytes!({absolute:?}), compressed: \
             include_bytes!({compressed:?}) }},"
        );
    }
    table.push_str("];\n");
    fs::write(out.join("page.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
