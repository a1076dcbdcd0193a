//! Bombs: little to write, much to read. Each is refused, with a sentence, within a second; without optimisation, on a machine that
//! is busy with other tests, within five.

use std::time::Duration;

use vxmesh::api::admin::Apply;
use vxmesh::api::enroll::{EnrollRequest, TokenText};
use vxmesh::api::problem::clip;
use vxmesh::api::stream::{Message, Report};
use vxmesh::clock;
use vxmesh::config::{Source, from_toml, manifest, meshd, meshmgr};
use vxmesh::lab::layout::Shape;
use vxmesh::mgmt::{certs, token};
use vxmesh::table::Slice;
use vxmesh::table::files::{self, Mode};

/// Longest that a refusal may take.
const LIMIT: Duration = if cfg!(debug_assertions) { Duration::from_secs(5) } else { Duration::from_secs(1) };

/// Reads a text as one format; the refusal in words.
type Reader = fn(&str) -> Result<(), String>;

fn yaml(text: &str) -> Result<(), String> {
    manifest::parse("bomb.yaml", text).map(drop).map_err(|problem| problem.to_string())
}

fn node_file(text: &str) -> Result<(), String> {
    meshd::Config::parse("meshd.toml", text).map(drop).map_err(|problem| problem.to_string())
}

fn server_file(text: &str) -> Result<(), String> {
    meshmgr::Config::parse("meshmgr.toml", text).map(drop).map_err(|problem| problem.to_string())
}

fn lab_file(text: &str) -> Result<(), String> {
    from_toml::<Shape>(Source::new("lab.toml", text)).map(drop).map_err(|problem| problem.to_string())
}

fn table_file(text: &str) -> Result<(), String> {
    files::read(Source::new("10.json", text), Mode::Lenient).map(drop).map_err(|problem| problem.to_string())
}

/// As the server says it.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<(), String> {
    serde_json::from_str::<T>(text).map(drop).map_err(|error| clip(&error.to_string()).to_owned())
}

fn join_token(text: &str) -> Result<(), String> {
    token::read(text).map(drop).map_err(|error| error.to_string())
}

fn request(text: &str) -> Result<(), String> {
    certs::Request::read(text).map(drop).map_err(|error| error.to_string())
}

/// Everything that reads JSON of others: the server's bodies, the node's stream and files.
const JSON: [(&str, Reader); 7] = [
    ("apply", json::<Apply>),
    ("enroll", json::<EnrollRequest>),
    ("report", json::<Report>),
    ("stream", json::<Message>),
    ("slice.json", json::<Slice>),
    ("token", json::<TokenText>),
    ("table file", table_file),
];

const TOML: [(&str, Reader); 3] = [("meshd.toml", node_file), ("meshmgr.toml", server_file), ("lab.toml", lab_file)];

/// Each alias stands for ten of the one before: 10^12 words in 600 bytes.
fn aliases() -> String {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let ten = vec![format!("*a{}", level - 1); 10].join(",");
        text.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
    }
    text
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn bombs_are_refused_within_a_second() {
    let mib = 1 << 20;
    let mut bombs: Vec<(&str, &str, Reader, String)> = vec![
        ("manifest", "aliases", yaml, aliases()),
        ("manifest", "depth of lists", yaml, nested("[", "]", 100_000)),
        ("manifest", "depth of tables", yaml, nested("{a: ", "}", 100_000)),
        ("manifest", "depth of lines", yaml, (0..3000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("manifest", "a text of 17 MiB", yaml, format!("kind: {}", "x".repeat(17 * mib))),
        ("manifest", "a text of 1 MiB", yaml, format!("kind: \"{}\"", "x".repeat(mib))),
        (
            "manifest",
            "a number of 1 MiB",
            yaml,
            format!("apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: a}}\nspec: {{vni: {}}}", "9".repeat(mib)),
        ),
        ("manifest", "100,000 documents", yaml, "---\na: b\n".repeat(100_000)),
        ("manifest", "a key 100,000 times", yaml, "kind: Pdc\n".repeat(100_000)),
        ("manifest", "merge keys", yaml, format!("a: &a {{b: c}}\nd: {{{}}}", "<<: *a, ".repeat(10_000))),
        ("manifest", "tags", yaml, format!("kind: {}x", "!<tag:a> ".repeat(50_000))),
        ("join token", "1 MiB", join_token, format!("vxm1.{}", "A".repeat(mib))),
        (
            "certificate request",
            "1 MiB",
            request,
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----", "A".repeat(mib)),
        ),
        ("certificate request", "100,000 beginnings", request, "-----BEGIN CERTIFICATE REQUEST-----\n".repeat(100_000)),
    ];
    for (name, reader) in JSON {
        bombs.extend([
            (name, "depth of lists", reader, nested("[", "]", mib)),
            (name, "depth of tables", reader, nested("{\"a\":", "}", 200_000)),
            (name, "depth behind a known key", reader, format!("{{\"items\":{}", nested("[", "]", mib))),
            (name, "depth behind an unknown key", reader, format!("{{\"zzz\":{}}}", nested("[", "]", mib))),
            (name, "a number of 1 MiB", reader, format!("{{\"revision\":{}}}", "9".repeat(mib))),
            (name, "a fraction of 1 MiB", reader, format!("{{\"revision\":0.{}e999999999}}", "0".repeat(mib))),
            (name, "a text of 1 MiB", reader, format!("{{\"{}\":1}}", "\\u0000".repeat(mib / 6))),
            (
                name,
                "100,000 keys",
                reader,
                format!("{{{}\"z\":0}}", (0..100_000).map(|n| format!("\"k{n}\":0,")).collect::<String>()),
            ),
        ]);
    }
    for (name, reader) in TOML {
        bombs.extend([
            (name, "depth of lists", reader, format!("a = {}", nested("[", "]", 100_000))),
            (name, "depth of tables", reader, format!("a = {}", nested("{ b = ", "}", 50_000))),
            (name, "a dotted key", reader, format!("{}a = 1", "a.".repeat(100_000))),
            (name, "a dotted table", reader, format!("[{}a]", "a.".repeat(50_000))),
            (name, "a number of 1 MiB", reader, format!("mtu = {}", "9".repeat(mib))),
            (name, "a text of 1 MiB", reader, format!("name = \"{}", "x".repeat(mib))),
            (name, "20,000 tables", reader, (0..20_000).map(|n| format!("[t{n}]\n")).collect()),
        ]);
    }
    for (format, bomb, reader, text) in bombs {
        let began = clock::mono();
        let refused = reader(&text);
        let took = clock::mono().since(began);
        let words = refused.expect_err(&format!("{format} takes {bomb}"));
        assert!(!words.is_empty() && words.len() < 8192, "{format}, {bomb}: {} bytes of words", words.len());
        assert!(took < LIMIT, "{format}, {bomb}: refused after {took:?}");
    }
}
