//! `vat run`.

use super::*;

#[test]
fn run_prints_the_console_and_the_exit_value() {
    let bench = Bench::new();
    bench.file("lib.js", "export const double = number => 2 * number;");
    bench.file(
        "main.js",
        "import { double } from './lib.js';
export default ({ exit, price, label = 'no label' }) => {
  console.log('computing', label);
  console.error('a complaint');
  exit(harden({ doubled: double(price), list: [1, 'two', null] }));
};",
    );
    let ran = bench.vat(&["run", "main.js", "--arg", "price=21", "--arg", "label=a bare string"]).ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "computing a bare string");
    assert_eq!(
        serde_json::from_str::<Value>(lines[1]).expect("JSON"),
        json!({ "doubled": 42, "list": [1, "two", null] })
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(ran.stderr.contains("a complaint"), "{}", ran.stderr);

    // For a script there is nothing but the value.
    let ran = bench.vat(&["run", "main.js", "--arg", "price=1", "--json"]).ok();
    assert_eq!(ran.json()["doubled"], json!(2));
    assert!(ran.stderr.contains("computing no label"), "{}", ran.stderr);

    // Numbers look as they do in JavaScript.
    bench.file(
        "numbers.js",
        "export default ({ exit }) => exit(harden([123456789012345680, 1e20, 1e21, 1e-7, 0.1 + 0.2, -0.5]));",
    );
    let numbers = "[123456789012345680,100000000000000000000,1e+21,1e-7,0.30000000000000004,-0.5]\n";
    for json in [&["run", "numbers.js"][..], &["run", "numbers.js", "--json"]] {
        assert_eq!(bench.vat(json).ok().stdout, numbers);
    }

    bench.file("quiet.js", "export default ({ exit }) => { exit(); };");
    assert_eq!(bench.vat(&["run", "quiet.js"]).ok().stdout, "");
}

#[test]
fn run_says_how_to_call_what_runs() {
    let bench = Bench::new();
    bench.file("counter.js", COUNTER);
    let mut command = bench.command(&["run", "counter.js"]);
    bench.hosts.borrow_mut().push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let stderr = bench.hosts.borrow_mut()[0].stderr.take().expect("piped");
    let line = BufReader::new(stderr).lines().map_while(Result::ok).find(|line| line.contains("vat call"));
    let line = line.expect("it says how");
    let (_, words) = line.split_once("vat call ").expect("a command");
    let words: Vec<&str> = words.split(' ').map(|word| word.trim_matches('\'')).collect();
    let [sturdyref, "METHOD", "--at", address] = words[..] else { panic!("{line}") };
    assert_eq!(bench.vat(&["call", sturdyref, "increment", "3", "--at", address]).ok().json(), json!(3));
    assert_eq!(bench.stop_host(0), Some(0));
}

#[test]
fn an_entry_that_is_no_javascript_is_refused_by_its_name() {
    let bench = Bench::new();
    for ending in ["tsx", "jsx", "TSX", "toml", "vue"] {
        let file = format!("entry.{ending}");
        bench.file(&file, "const x: number = 1;");
        bench.file("main.js", &format!("import './{file}';\nexport default () => {{}};\n"));
        for entry in [&file, "main.js"] {
            let ran = bench.vat(&["run", entry]);
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{entry}: {}", ran.stderr);
            let wanted =
                if ending.ends_with(['x', 'X']) { "compile it to JavaScript" } else { "a vat takes JavaScript" };
            assert!(ran.stderr.contains(entry) && ran.stderr.contains(wanted), "{entry}: {}", ran.stderr);
        }
    }
}

#[test]
fn run_says_where_code_is_wrong() {
    let bench = Bench::new();
    bench.file("syntax.js", "export default () => {\n  const x = ;\n};\n");
    bench.file("inner.js", "export const one = 1;\nexport const two = = 2;\n");
    bench.file("outer.js", "import { two } from './inner.js';\nexport default () => {};\n");
    bench.file("throws.js", "export default () => {\n  throw RangeError('not today');\n};\n");
    bench.file("rejects.js", "export default async () => {\n  await null;\n  throw RangeError('not tomorrow');\n};\n");
    bench.file("missing.js", "import { x } from './absent.js';\nexport default () => {};\n");
    bench.file("nothing.js", "export const x = 1;\n");
    bench.file("endless.js", "export default () => { for (;;); };\n");
    for (file, wanted) in [
        ("syntax.js", &["SyntaxError", "syntax.js:2:13", "const x = ;"][..]),
        ("outer.js", &["SyntaxError", "inner.js:2:", "two = = 2"]),
        ("throws.js", &["RangeError: not today", "throws.js"]),
        ("rejects.js", &["RangeError: not tomorrow", "rejects.js"]),
        ("missing.js", &["missing.js:1:", "absent.js"]),
        ("nothing.js", &["default"]),
        ("endless.js", &["fuel"]),
    ] {
        let ran = bench.vat(&["run", file]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{file}: {}", ran.stderr);
        for wanted in wanted {
            assert!(ran.stderr.contains(wanted), "{file}: no {wanted:?} in {}", ran.stderr);
        }
    }
}

#[test]
fn run_says_that_it_waits_and_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.file("lasting.js", "export default () => { console.log('here I am'); };");
    // All lines come, though the exit may be seen first.
    bench.file(
        "chatty.js",
        "export default async ({ exit, lines }) => {
  const text = 'x'.repeat(200);
  for (let line = 0; line < lines; line += 1) {
    console.log(`${line} ${text}`);
  }
  exit();
};",
    );
    let temporary = bench.path("temporary");
    fs::create_dir(&temporary).expect("writable");
    let chatty = bench.command(&["run", "chatty.js", "--arg", "lines=200"]).env("TMPDIR", &temporary).output();
    let printed = String::from_utf8(chatty.expect("it runs").stdout).expect("text");
    assert_eq!(printed.lines().count(), 200);
    assert!(printed.lines().enumerate().all(|(line, text)| text.starts_with(&format!("{line} x"))));

    // Stopped while it starts, and when it says that it goes on: or it would look like a program that hangs.
    use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
    let moments = [("compiling the engine", SIGTERM), ("Ctrl-C ends it", SIGTERM), ("Ctrl-C ends it", SIGHUP)];
    for (number, (moment, signal)) in moments.into_iter().enumerate() {
        let mut command = bench.command_with_hangup(&["run", "lasting.js"]);
        command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stderr(Stdio::piped());
        bench.hosts.borrow_mut().push(command.spawn().expect("it starts"));
        let stderr = bench.hosts.borrow_mut()[number].stderr.take().expect("piped");
        let said = BufReader::new(stderr).lines().map_while(Result::ok).find(|line| line.contains(moment));
        assert!(said.is_some(), "it never said {moment:?}");
        assert_eq!(bench.signal_host(number, signal), Some(0));
        assert_eq!(fs::read_dir(&temporary).expect("it is there").count(), 0, "a temporary home is left");
    }
}
