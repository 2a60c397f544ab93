//! `vat test` and `vat repl`: programs of several vats in one process.

use super::*;
use std::io::Write as _;

/// A shop that is paid by a bank, and a bank that tells an auditor.
const SHOP: &str = "
import { E, Far } from '@endo/far';
export default ({ bank, price = 10 }) => Far('shop', {
  async buy(purse) {
    await E(bank).take(purse, price);
    return Far('goods', { price: () => price });
  },
  // Both at once: which of them is first, the order of messages decides.
  race: (one, other) => Promise.race([E(one).answer('one'), E(other).answer('other')]),
});
";
const BANK: &str = "
import { E, Far } from '@endo/far';
export default ({ auditor, timer }) => Far('bank', {
  async take(purse, amount) {
    const taken = await E(purse).withdraw(amount);
    E.sendOnly(auditor).note(`took ${taken}`);
    console.log(`took ${taken}`);
  },
  later: async ms => { await timer.delay(ms); return timer.now(); },
  spin() { for (;;); },
  answer: word => word,
});
";
const PASSING: &str = "
import { E, Far } from '@endo/far';
export default ({ test }) => {
  const makeAuditor = () => {
    const notes = [];
    return { notes, auditor: Far('auditor', { note: text => { notes.push(text); } }) };
  };
  const start = async (t, auditor) => {
    const bank = await t.vat('./bank.js', { auditor }, { endowments: ['timer'] });
    return { bank, shop: await t.vat('./shop.js', { bank, price: 7 }, { name: 'corner shop' }) };
  };

  test('objects pass between three vats and the test', async t => {
    const { notes, auditor } = makeAuditor();
    const { shop } = await start(t, auditor);
    const goods = E(shop).buy(Far('purse', { withdraw: amount => amount }));
    t.is(await E(goods).price(), 7);
    await t.settle();
    t.deepEqual(notes, ['took 7']);
  });

  test('arguments may hold what messages may hold', async t => {
    const auditors = [makeAuditor(), makeAuditor()];
    const bank = await t.vat('./bank.js', { auditor: auditors[1].auditor, more: [{ deep: auditors[0].auditor }] }, { endowments: ['timer'] });
    await t.restart();
    const taken = await E(bank).take(Far('purse', { withdraw: amount => amount }), 3);
    await t.settle();
    t.deepEqual([taken, auditors[0].notes, auditors[1].notes], [undefined, [], ['took 3']]);
    t.is(await E(bank).answer(auditors[0].auditor), auditors[0].auditor, 'it comes home as itself');
  });

  test('time moves when nothing else is left, and never before', async t => {
    const { bank } = await start(t, makeAuditor().auditor);
    const begin = t.now();
    let woken = false;
    const later = E(bank).later(60_000).then(now => { woken = true; return now; });
    await t.advance(59_999);
    t.false(woken);
    await t.advance(1);
    t.true(woken);
    t.is((await later) - begin, 60_000);
    t.is((await E(bank).later(3_600_000)) - begin, 3_660_000, 'nobody waits for it, and it comes');
  });

  test('a limit is a rejection like any other', async t => {
    const bank = await t.vat('./bank.js', {}, { fuelPerDelivery: 300_000_000, endowments: ['timer'] });
    const reason = await t.rejects(E(bank).spin(), { name: 'VatError', message: /fuel limit/ });
    t.is(reason.message.includes('rolled back'), true);
    t.is(await E(bank).answer('still there'), 'still there');
  });

  test('promises and objects outlive a restart', async t => {
    const { bank, shop } = await start(t, makeAuditor().auditor);
    const later = E(bank).later(5_000);
    await t.restart();
    t.is(await E(bank).answer('a'), 'a');
    t.truthy(await later);
    await t.restart();
    await t.rejects(E(shop).buy(Far('purse', { withdraw: () => { throw RangeError('empty'); } })), 'empty');
  });

  test('values are compared by what they hold', async t => {
    const far = Far('x', {});
    t.deepEqual({ a: [1, -0, NaN], b: 'x', c: 1n, d: undefined, e: far }, { a: [1, -0, NaN], b: 'x', c: 1n, d: undefined, e: far });
    t.throws(() => { throw TypeError('no'); }, TypeError);
  });
};
";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("shop.js", SHOP);
    bench.file("bank.js", BANK);
    bench
}

/// The lines of `--json`.
fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn tests_of_several_vats_pass_and_cost_the_same_each_time() {
    let bench = bench();
    bench.file("shop.test.js", PASSING);
    let ran = bench.vat(&["test"]).ok();
    assert!(
        ran.stdout.starts_with("shop.test.js\n  ok       objects pass between three vats and the test ("),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("6 passed\n"), "{}", ran.stdout);
    let (one, again) = (bench.vat(&["test", "--json"]).ok(), bench.vat(&["test", "shop.test.js", "--json"]).ok());
    assert_eq!(one.stdout, again.stdout, "the same seed is the same run");
    let reports = lines(&one);
    let first = &reports[0];
    assert_eq!((&first["outcome"], &first["assertions"], &first["seed"]), (&json!("passed"), &json!(2), &json!(1)));
    let vats: Vec<&Value> = first["vats"].as_array().expect("a list").iter().map(|vat| &vat["vat"]).collect();
    assert_eq!(vats, [&json!("bank"), &json!("corner shop")]);
    assert_eq!(first["console"], json!([{ "vat": "bank", "level": "info", "text": "took 7" }]));
    let fuel: u64 = first["vats"].as_array().expect("a list").iter().filter_map(|vat| vat["fuel"].as_u64()).sum();
    assert!(fuel > 0 && first["fuel"].as_u64().is_some_and(|all| all > fuel), "{first}");
    assert_eq!(reports.last().expect("a summary")["passed"], json!(6));
}

#[test]
fn a_test_that_fails_says_where_and_why_and_ends_with_1() {
    let bench = bench();
    bench.file(
        "lib.test.ts",
        "import { E, Far } from '@endo/far';
interface Powers { test: (name: string, body: (t: any) => Promise<void>) => void }
export default ({ test }: Powers): void => {
  test('differs', async (t: any) => {
    console.log('before');
    const bank: any = await t.vat('./bank.js', {}, { endowments: ['timer'] });
    t.deepEqual(await E(bank).answer({ a: [1, 2] }), { a: [1, 3] });
  });
  test('asserts nothing', async () => {});
  test('hangs', async (t: any) => { await new Promise(() => {}); });
  test('swallows', async (t: any) => { try { t.is(1, 2); } catch {} });
  test('code with a mistake', async (t: any) => { await t.vat('./broken.js'); });
  test('code that does not start', async (t: any) => { await t.vat('./throws.js'); });
  test('no such option', async (t: any) => { await t.vat('./bank.js', {}, { endowment: 'timer' }); });
  test('an argument that can not be passed', async (t: any) => { await t.vat('./bank.js', { map: new Map() }); });
  test('a setup that fails later', async (t: any) => { await t.vat('./late.js', { x: Far('x', {}) }); });
  test('never ends', async (t: any) => {
    const ping = Far('ping', { ping: (): any => E(ping).ping() });
    await E(ping).ping();
  });
  test('good', async (t: any) => { t.pass(); });
};
",
    );
    bench.file("broken.js", "export default () => [1 2];\n");
    bench.file("late.js", "export default async ({ x }) => { await null; throw Error(`late ${typeof x}`); };\n");
    bench.file("throws.js", "\nexport default () => { null.x; };\n");
    let ran = bench.vat(&["test", "--fuel", "3000000000"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let said = |text: &str| assert!(ran.stdout.contains(text), "no {text:?} in {}{}", ran.stdout, ran.stderr);
    said("  FAILED   differs (");
    said("AssertionError: { a: [1, 2] } is not { a: [1, 3] }: a[1] differs");
    said("| [test] before");
    said("the test asserts nothing");
    said("it waits for a promise that nothing will settle");
    said("AssertionError: 1 is not 2");
    said("broken.js:1:25: SyntaxError");
    said("throws.js:2:");
    said("there is no option \"endowment\"; known ones are: name, endowments");
    said("what it asks for can't be passed: ");
    said("late did not start: Error: late object");
    said("it has not ended after 3000000000 units of fuel");
    said("  ok       good (");
    assert!(ran.stderr.contains("error: 10 of 11 tests failed"), "{}", ran.stderr);

    let ran = bench.vat(&["test", "--filter", "differs", "--json"]);
    let reports = lines(&ran);
    assert_eq!((ran.code, reports.len()), (1, 2), "{}", ran.stdout);
    let failure = &reports[0]["failure"];
    assert_eq!(failure["file"], json!("lib.test.ts"), "{failure}");
    // The line of the assertion where it is known, and else that of the test.
    let line = failure["line"].as_u64().expect("a line");
    assert!([4, 7].contains(&line), "{failure}");
    let source = failure["source"].as_str().expect("the line itself");
    assert!(source.contains("t.deepEqual(") || source.contains("test('differs', async (t: any)"), "{failure}");
    assert_eq!((&reports[1]["failed"], &reports[1]["error"]["exit"]), (&json!(1), &json!(1)));
}

#[test]
fn assertions_say_where_values_differ() {
    let bench = Bench::new();
    bench.file(
        "differ.test.js",
        "import { Far } from '@endo/far';
export default ({ test }) => {
  for (const [where, one, other] of [
    ['[1]', [1, 2], [1, 3]],
    ['a.b', { a: { b: 1 } }, { a: { b: 2 } }],
    ['b', { a: 1 }, { a: 1, b: 2 }],
    ['the value', 0, -0],
    ['a', { a: Far('x', {}) }, { a: Far('x', {}) }],
    ['the value', Error('a'), Error('b')],
    ['x', { x: [] }, { x: {} }],
    ['[0]', new Uint8Array([1]), new Uint8Array([2])],
    ['[0][1]', new Map([['k', 1]]), new Map([['k', 2]])],
  ]) {
    test(`${where} of ${typeof one} ${JSON.stringify(one)}`, t => { t.deepEqual(one, other); });
  }
};
",
    );
    let ran = bench.vat(&["test", "--json"]);
    let reports = lines(&ran);
    assert_eq!((ran.code, reports.len()), (1, 10), "{}", ran.stdout);
    for report in &reports[..9] {
        let (name, message) =
            (report["test"].as_str().expect("a name"), report["failure"]["message"].as_str().expect("why"));
        let (wanted, _) = name.split_once(" of ").expect("the name says where");
        assert!(message.ends_with(&format!(": {wanted} differs")), "{name}: {message}");
    }
}

#[test]
fn what_is_wrong_with_files_of_tests_is_exit_code_2() {
    let bench = Bench::new();
    let wrong = |files: &[(&str, &str)], args: &[&str], wanted: &str| {
        files.iter().for_each(|(name, text)| bench.file(name, text));
        let ran = bench.vat(&[&["test"], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{args:?}: no {wanted:?} in {}", ran.stderr);
    };
    wrong(&[], &[], "there is no file of tests here");
    wrong(&[], &["nowhere.test.js"], "nowhere.test.js");
    wrong(
        &[("a.test.js", "export default ({ test }) => { test('x' };\n")],
        &["a.test.js"],
        "a.test.js:1:41: SyntaxError",
    );
    wrong(&[("b.test.js", "export const a = 1;\n")], &["b.test.js"], "b.test.js");
    wrong(&[("c.test.js", "export default () => {\n  throw Error('no');\n};\n")], &["c.test.js"], "c.test.js:2:");
    wrong(
        &[("d.test.js", "export default ({ test }) => { test('x', () => {}); test('x', () => {}); };\n")],
        &["d.test.js"],
        "two tests are called \"x\"",
    );
    wrong(&[("e.test.js", "export default () => {};\n")], &["e.test.js"], "the files have no tests");
    wrong(
        &[("f.test.js", "export default ({ test }) => { test('x', () => {}); };\n")],
        &["f.test.js", "--filter", "y"],
        "no test has \"y\" in its name",
    );
    wrong(&[], &["f.test.js", "--seeds", "0"], "--seeds");
}

/// Messages of two vats to a third have no order: some seeds show each.
#[test]
fn seeds_find_the_orders_that_messages_can_have() {
    let bench = bench();
    bench.file(
        "race.test.js",
        "import { E } from '@endo/far';
export default ({ test }) => {
  test('the first one wins', async t => {
    const [one, other] = [await t.vat('./bank.js', {}, { endowments: ['timer'] }), await t.vat('./bank.js', {}, { endowments: ['timer'] })];
    const shop = await t.vat('./shop.js', { bank: one });
    t.is(await E(shop).race(one, other), 'one');
  });
  test('each comes once', async t => {
    const shop = await t.vat('./shop.js');
    const bank = await t.vat('./bank.js', {}, { endowments: ['timer'] });
    t.truthy(['one', 'other'].includes(await E(shop).race(bank, bank)));
  });
};
",
    );
    let ran = bench.vat(&["test", "--seeds", "40", "--json"]);
    let reports = lines(&ran);
    assert_eq!((ran.code, &reports[0]["outcome"]), (1, &json!("failed")), "{}", ran.stdout);
    assert_eq!(reports[1]["outcome"], json!("passed"), "{}", ran.stdout);
    let seed = reports[0]["seed"].to_string();
    let again = bench.vat(&["test", "--filter", "wins", "--seed", &seed, "--json"]);
    assert_eq!((again.code, &lines(&again)[0]["failure"]), (1, &reports[0]["failure"]), "{}", again.stdout);
    let other = (1..=40).find(|seed| bench.vat(&["test", "--filter", "wins", "--seed", &seed.to_string()]).code == 0);
    assert!(other.is_some(), "no seed has the first one win");
}

impl Bench {
    /// Runs a command with this on its standard input.
    fn fed(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

#[test]
fn a_session_evaluates_lines_as_a_vat_does() {
    let bench = bench();
    bench.file("counter.js", COUNTER);
    // What is typed, and what is printed.
    let session = [
        ("1 + 1", "2"),
        ("const a = { n: 1n, list: ['x', undefined] }", ""),
        ("a", "{ n: 1n, list: [\"x\", undefined] }"),
        ("{ a: 1 }", "{ a: 1 }"),
        ("'text'", "\"text\""),
        ("function twice(x) { return 2 * x; }", ""),
        ("let { n, list: [first] } = a; twice(21)", "42"),
        ("[n, first]", "[1n, \"x\"]"),
        ("n = 5", "5"),
        ("n", "5"),
        ("undefined", ""),
        ("// nothing", ""),
        ("Math.random", "[Function random]"),
        ("Date.now()", "! TypeError: secure mode Calling %SharedDate%.now() throws"),
        ("1 +", "! SyntaxError"),
        ("const t: number = 5", "! SyntaxError: Expected initializer for const declaration at line 1, col 8"),
        ("[\n  await x y]", "! SyntaxError: unexpected token 'y', expected comma or end of array at line 2, col 11"),
        ("E(root).increment(2)", "7"),
        ("const total = await E(root).increment()", ""),
        ("total", "8"),
        ("await E(root).echo(\n  [1,\n  2])", "[1, 2]"),
        ("E(root).fail('no')", "! RangeError: no"),
        ("root", "["),
        ("new Promise(() => {})", "(a promise that nothing settles now; what it comes to is printed then)"),
        ("const other = await vat('./counter.js', { start: 1, name: 'another' })", "[counter] another begins at 1"),
        ("(await E(other).echo(root)) === root", "true"),
        ("console.log('hello', [1])", "[session] hello [1]"),
        ("const later = timer.delay(1000); const begin = now()", ""),
        ("(await later) - begin", "1000"),
    ];
    let typed: Vec<&str> = session.iter().map(|(line, _)| *line).collect();
    let ran = bench.fed(&["repl", "counter.js", "--arg", "start=5"], &(typed.join("\n") + "\n")).ok();
    // What the console says of a failed call is the guest's own.
    let mut printed = ran.stdout.lines().filter(|line| !line.contains("fail failed: "));
    assert_eq!(printed.next(), Some("[counter] counter begins at 5"), "{}", ran.stdout);
    for (line, wanted) in session.iter().filter(|(_, wanted)| !wanted.is_empty()) {
        let found = printed.next().unwrap_or("nothing");
        assert!(found.starts_with(wanted), "{line}: printed {found:?}, wanted {wanted:?}\n{}", ran.stdout);
    }
    assert_eq!(printed.next(), None, "{}", ran.stdout);

    let ran = bench.fed(&["repl", "--json"], "1 + 1\nthrow RangeError('no')\nnew Promise(() => {})\n.exit\n2\n").ok();
    let reports = lines(&ran);
    assert_eq!(reports.len(), 3, "{}", ran.stdout);
    assert_eq!((&reports[0]["line"], &reports[0]["values"]), (&json!("1 + 1"), &json!(["2"])));
    assert_eq!(reports[1]["failures"], json!(["RangeError: no"]));
    assert_eq!(reports[2]["pending"], json!(true));
}

#[test]
fn a_session_whose_code_is_wrong_does_not_begin() {
    let bench = Bench::new();
    bench.file("broken.js", "export default () => [1 2];\n");
    bench.file("throws.js", "\nexport default () => { null.x; };\n");
    for (args, wanted) in [
        (&["repl", "broken.js"][..], "broken.js:1:25: SyntaxError"),
        (&["repl", "throws.js"], "throws.js:2:"),
        (&["repl", "nowhere.js"], "nowhere.js"),
        (&["repl", "--arg", "a=1"], "FILE|VAT"),
    ] {
        let ran = bench.fed(args, "1\n");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{args:?}: {}", ran.stderr);
    }
}

/// The end of what is written to a pipe, line by line.
fn next_line(lines: &mut impl Iterator<Item = String>, wanted: &str) -> String {
    lines.find(|line| line.contains(wanted)).unwrap_or_else(|| panic!("it ended before it said {wanted:?}"))
}

#[test]
fn a_run_that_watches_starts_anew_with_each_change() {
    let bench = Bench::new();
    bench.file("lib.js", "export const word = 'one';\n");
    bench.file("main.js", "import { word } from './lib.js';\nexport default () => ({ word: () => word });\n");
    let mut command = bench.command(&["run", "main.js", "--watch"]);
    bench.hosts.borrow_mut().push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let stderr = bench.hosts.borrow_mut()[0].stderr.take().expect("piped");
    let mut said = BufReader::new(stderr).lines().map_while(Result::ok);
    let call = |line: &str| {
        let (_, words) = line.split_once("vat call ").expect("a command");
        let words: Vec<&str> = words.split(' ').map(|word| word.trim_matches('\'')).collect();
        let [sturdyref, _, at, address] = words[..] else { panic!("{line}") };
        bench.vat(&["call", sturdyref, "word", at, address]).ok().json()
    };
    assert_eq!(call(&next_line(&mut said, "vat call")), json!("one"));
    // A file that the entry imports.
    bench.file("lib.js", "export const word = 'two';\n");
    next_line(&mut said, "starts anew");
    assert_eq!(call(&next_line(&mut said, "vat call")), json!("two"));
    // What is wrong is said, and waited for.
    bench.file("lib.js", "export const word = [1 2];\n");
    next_line(&mut said, "lib.js:1:24: SyntaxError");
    bench.file("lib.js", "export const word = 'three';\n");
    assert_eq!(call(&next_line(&mut said, "vat call")), json!("three"));
    assert_eq!(bench.stop_host(0), Some(0));
}
