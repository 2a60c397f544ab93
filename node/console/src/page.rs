//! The files of the page, which are in the program.

/// Paths and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A file of the page.
pub struct File {
    pub kind: &'static str,
    pub content: &'static [u8],
    /// Its name has a hash of its content.
    pub is_fixed: bool,
}

/// The file at a path of the page's address. Whatever is no file is a view of the page itself.
pub fn file(path: &str) -> Option<File> {
    let wanted = if path.starts_with("/assets/") || path == "/icon.svg" { path } else { "/index.html" };
    let (name, content) = FILES.iter().find(|(name, _)| *name == wanted)?;
    let kind = match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    };
    Some(File { kind, content, is_fixed: name.starts_with("/assets/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_its_parts_are_there_and_have_their_kinds() {
        let index = file("/vats/some").expect("a view");
        let text = std::str::from_utf8(index.content).expect("text");
        assert!(index.kind.starts_with("text/html") && !index.is_fixed);
        let parts: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
        assert!(parts.len() >= 2, "{text}");
        for part in parts {
            let found = file(part).expect("it is embedded");
            assert!(found.is_fixed && found.kind != "application/octet-stream", "{part}");
        }
        assert!(file("/assets/none.js").is_none());
    }
}
