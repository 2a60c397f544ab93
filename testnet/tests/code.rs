//! Code as people write it, through the `vat` command: TypeScript with types, enums, JSON and packages, and what is said of mistakes in it.

use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};

/// A place with these files: `-- path` begins each.
fn with_files(files: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    for file in files.split("-- ").skip(1) {
        let (path, text) = file.split_once('\n').expect("a path and a text");
        fs::create_dir_all(net.path(path).parent().expect("a folder")).expect("made");
        net.file(path, text);
    }
    net
}

const SHOP: &str = r##"-- shop.ts
import { E, Far } from '@endo/far';
import type { Price, Purse } from './types.js';
import { Side, type Order, total } from './orders';
import prices from './prices.json' with { type: 'json' };
import round, { half } from 'rounding';
import * as es from 'modern/sub';
import { twice } from '#util';

class Book<T extends Order> implements Purse<T> {
  #orders: T[] = [];
  constructor(private readonly owner: string, public limit: number = 10) {}
  add(order: T): this { this.#orders.push(order); return this; }
  get size(): number { return this.#orders.length; }
  describe(): string { return `${this.owner}:${this.size}/${this.limit}`; }
}

interface Argv { exit: (value: unknown) => void; name?: string }

export default async ({ exit, name = 'nobody' }: Argv): Promise<object> => {
  const book = new Book<Order>(name!).add({ side: Side.Sell, price: prices.apple as Price }).add({ side: Side.Buy, price: 1 });
  const shop = Far('shop', {
    describe: (): string => book.describe(),
  });
  const described = await E(shop).describe();
  exit([described, Side[Side.Sell], Side.Buy, total([1, 2] satisfies number[]), round(1.26), half, es.value, twice(21)]);
  return shop;
};
-- types.ts
export type Price = number;
export interface Purse<T> { add(one: T): unknown }
-- orders.ts
import type { Price } from './types';
export enum Side { Buy, Sell = Buy + 5 }
export interface Order { side: Side; price: Price }
export const total = <T extends number>(all: T[]): number => all.reduce((sum, one) => sum + one, 0);
-- prices.json
{ "apple": 3 }
-- package.json
{ "name": "shop", "imports": { "#util": "./util/index.js" } }
-- util/package.json
{ "type": "module" }
-- util/index.js
export const twice = x => 2 * x;
-- node_modules/rounding/package.json
{ "main": "lib/index.js" }
-- node_modules/rounding/lib/index.js
'use strict';
const { places } = require('./config.json');
const cycle = require('./cycle');
module.exports = function round(x) { return cycle.scaled(x, places); };
module.exports.half = 0.5;
cycle.finish();
-- node_modules/rounding/lib/cycle.js
const early = require('./index.js');
let finished = typeof early;
exports.scaled = (x, places) => Math.round(x * 10 ** places) / 10 ** places;
exports.finish = () => { finished = 'yes'; };
try { require('not-there'); } catch (error) { exports.code = error.code; }
-- node_modules/rounding/lib/config.json
{ "places": 1 }
-- node_modules/modern/package.json
{ "exports": { "./sub": { "types": "./sub.d.ts", "require": "./sub.cjs", "module": "./es/sub.js" } } }
-- node_modules/modern/es/sub.js
export const value = 'es';
"##;

#[test]
fn a_contract_in_typescript_runs_with_its_json_and_its_packages() {
    let net = with_files(SHOP);
    let ran = net.vat(&["run", "shop.ts", "--arg", "name=ann"]).ok();
    let value: Value = serde_json::from_str(ran.stdout.trim()).expect("the value of exit");
    assert_eq!(value, json!(["ann:2/10", "Sell", 0, 3, 1.3, 0.5, "es", 42]), "{}", ran.stderr);
}

#[test]
fn a_start_that_throws_points_at_the_line_of_the_author() {
    let net = with_files(
        "-- main.ts\nimport { price, type Goods } from './goods.ts';\n\ninterface Argv {\n  name: string;\n}\n\
         export default ({ name }: Argv): object => {\n  const goods: Goods = { name, kind: undefined };\n  return { price: price(goods) };\n};\n\
         -- goods.ts\nexport type Goods = {\n  name: string;\n  kind: { price: number } | undefined;\n};\n\
         export function price<T extends Goods>(goods: T): number {\n  return goods.kind!.price;\n}\n",
    );
    let ran = net.vat(&["run", "main.ts"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("(at goods.ts:6:"), "{}", ran.stderr);
    // The line itself, in which the type is blank.
    assert!(ran.stderr.contains("\n  6 |   return goods.kind .price;\n"), "{}", ran.stderr);
}

const BANK: &str = "-- main.ts
import { E, Far } from '@endo/far';
import { checked, type Amount } from './amount.ts';

interface Argv {
  name?: string;
}
export default (_argv: Argv): object => {
  let balance: Amount = 0;
  return Far('bank', {
    deposit(amount: Amount): Amount {
      balance += checked(amount);
      return balance;
    },
    async later(amount: Amount): Promise<Amount> {
      await null;
      return checked(amount as number);
    },
    caught(amount: Amount): unknown {
      try {
        return checked(amount);
      } catch (error) {
        const e = error as Error & Record<string, unknown>;
        return [Reflect.ownKeys(e).map(String).sort(), `${e.stack}`, `${e}`];
      }
    },
    oneWay() {
      E.sendOnly(Far('one', { fail(): void { throw new TypeError('lost'); } })).fail();
    },
  });
};
-- amount.ts
export type Amount = number;

export function checked<T extends Amount>(amount: T): T {
  if (amount < 0) throw new RangeError(`${amount} is negative`);
  return amount as T;
}
";

#[test]
fn a_call_that_throws_points_at_the_line_of_the_author_on_the_hosts_console_alone() {
    let net = with_files(BANK);
    let config = net.file(
        "one.toml",
        "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"bank\"\nhosts = [\"h1\"]\nsource = \"main.ts\"\n",
    );
    net.up(&config, &[]).ok();
    assert_eq!(net.call("bank", "deposit", &["5"]), json!(5));
    for method in ["deposit", "later"] {
        let failed = net.vat(&["call", "bank", method, "-7"]);
        let said = format!("{}{}", failed.stdout, failed.stderr);
        assert!(failed.code != 0 && said.contains("-7 is negative") && !said.contains("amount.ts"), "{said}");
    }
    // Nor does the vat's own code learn it.
    let caught = net.call("bank", "caught", &["-7"]);
    assert_eq!(caught[2], "RangeError: -7 is negative", "{caught}");
    assert!(!caught.to_string().contains("amount"), "{caught}");
    net.call("bank", "oneWay", &[]);
    let console = net.vat(&["logs", "bank"]).ok().stdout;
    let line = "  4 |   if (amount < 0) throw new RangeError(`${amount} is negative`);";
    for method in ["deposit", "later"] {
        let told = format!("{method} failed: RangeError: -7 is negative (at amount.ts:4:");
        let after = console.split(&told).nth(1).unwrap_or_else(|| panic!("no {told:?} in:\n{console}"));
        let code = after.lines().nth(1).unwrap_or_default();
        assert!(code.ends_with(line), "{code:?} in:\n{console}");
    }
    assert!(console.contains("a one-way message failed: fail: TypeError: lost (at main.ts:"), "{console}");
    assert!(!console.contains("caught failed"), "{console}");
}

#[test]
fn mistakes_in_code_are_said_with_the_line_itself_also_as_json() {
    let net = with_files(
        "-- main.ts\nimport { gone } from './lib.js';\nexport default (argv: { a: number }) => ({ gone });\n-- lib.js\nexport const here = [1 2];\n",
    );
    let ran = net.vat(&["run", "main.ts", "--json"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].contains("lib.js:1:24: SyntaxError: "), "{}", ran.stderr);
    assert_eq!(lines[1..3], ["  1 | export const here = [1 2];", "    |                        ^"], "{}", ran.stderr);
    let report: Value = serde_json::from_str(ran.stdout.trim()).expect("one line of JSON");
    let mistake = &report["error"]["mistakes"][0];
    assert_eq!((&mistake["line"], &mistake["column"]), (&json!(1), &json!(24)), "{report}");
    assert_eq!(mistake["source"], "export const here = [1 2];");
    net.file("lib.js", "export const here = [1, 2];\n");
    let ran = net.vat(&["run", "main.ts"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("main.ts:1:10: \"./lib.js\" has no export `gone`; it exports here"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  1 | import { gone } from './lib.js';\n    |          ^"), "{}", ran.stderr);
}

#[test]
fn a_new_project_is_ready_to_run() {
    for flags in [&[][..], &["--typescript"]] {
        let net = TestNet::new(stand_in());
        net.vat(&[&["new", "shop"], flags].concat()).ok();
        let contract = if flags.is_empty() { "contract.js" } else { "contract.ts" };
        let file = format!("shop/{contract}");
        let checked = net.vat(&["check", &file]).ok().stdout;
        assert!(checked.starts_with(&format!("{file}: 1 module, ")), "{checked}");
        let checked: Value = serde_json::from_str(&net.vat(&["check", &file, "--json"]).ok().stdout).expect("JSON");
        assert_eq!((&checked["entry"], &checked["modules"][0]["path"]), (&json!(contract), &json!(contract)));
        let tested = net.vat(&["test", "shop"]).ok().stdout;
        assert!(tested.ends_with("3 passed\n"), "{tested}");
        net.up(&net.path("shop/testnet.toml"), &[]).ok();
        assert_eq!(net.call("contract", "increment", &["5"]), json!(5));
        let again = net.vat(&["new", "shop"]);
        assert_eq!(again.code, 2, "{}", again.stderr);
        assert!(again.stderr.contains("shop is not empty"), "{}", again.stderr);
    }
}

#[test]
fn the_types_of_a_new_project_are_of_things_that_are_there() {
    let net = TestNet::new(stand_in());
    net.vat(&["new", "shop"]).ok();
    let types = fs::read_to_string(net.path("shop/vat.d.ts")).expect("the declarations");
    let (mut globals, mut modules) = (Vec::new(), Vec::<(String, Vec<String>)>::new());
    let word = |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    for line in types.lines() {
        if let Some(name) = line.strip_prefix("declare const ").or_else(|| line.strip_prefix("declare class ")) {
            globals.push(word(name));
        } else if let Some(module) = line.strip_prefix("declare module '") {
            modules.push((module.split('\'').next().unwrap_or_default().to_string(), Vec::new()));
        } else if let Some(name) = line.strip_prefix("  export const ") {
            modules.last_mut().expect("within a module").1.push(word(name));
        } else if let Some((list, _)) = line.strip_prefix("  export { ").and_then(|rest| rest.split_once(" }")) {
            let names = list.split(", ").map(|name| name.rsplit(' ').next().unwrap_or(name).to_string());
            modules.last_mut().expect("within a module").1.extend(names);
        }
    }
    assert!(globals.len() >= 15 && modules.len() >= 7, "{globals:?} {modules:?}");
    let globals: Vec<String> = globals;
    let imports: String = modules
        .iter()
        .enumerate()
        .map(|(index, (module, _))| format!("import * as m{index} from '{module}';\n"))
        .collect();
    let asked: Vec<String> = globals
        .iter()
        .map(|name| format!("['{name}', typeof {name}]"))
        .chain(modules.iter().enumerate().flat_map(|(index, (module, names))| {
            names.iter().map(move |name| format!("['{module}: {name}', typeof m{index}['{name}']]"))
        }))
        .collect();
    net.file(
        "shop/asks.js",
        &format!(
            "{imports}export default ({{ exit }}) => {{ exit([{}].filter(([, type]) => type === 'undefined')); return {{}}; }};\n",
            asked.join(", ")
        ),
    );
    let ran = net.vat(&["run", "shop/asks.js"]).ok();
    assert_eq!(ran.stdout.trim(), "[]", "{}", ran.stderr);
    // And the other way round: what is there beside the language, and every module that is built in, has types.
    net.file(
        "shop/names.js",
        "export default ({ exit }) => { exit(Object.getOwnPropertyNames(globalThis)); return {}; };\n",
    );
    let ran = net.vat(&["run", "shop/names.js"]).ok();
    let there: Vec<String> = serde_json::from_str(ran.stdout.trim()).expect("a list of names");
    let of_language: BTreeSet<&str> = OF_THE_LANGUAGE.split_whitespace().collect();
    let untyped: Vec<&String> =
        there.iter().filter(|name| !of_language.contains(name.as_str()) && !globals.contains(name)).collect();
    assert!(there.len() > 60 && untyped.is_empty(), "{untyped:?} of {there:?}");
    let bundler = fs::read_to_string(own_file("../node/bundler/src/lib.rs")).expect("the bundler's source");
    let (_, list) = bundler.split_once("pub const BUILT_INS").expect("the list of built-in modules");
    let (list, _) = list.split_once("];").expect("its end");
    let built_in: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let typed: BTreeSet<&str> = modules.iter().map(|(module, _)| module.as_str()).collect();
    assert!(built_in.len() > 10 && built_in == typed, "{built_in:?} {typed:?}");
}

/// Names of the global object for which TypeScript has types itself.
const OF_THE_LANGUAGE: &str = "globalThis Infinity NaN undefined isFinite isNaN parseFloat parseInt decodeURI decodeURIComponent encodeURI encodeURIComponent
    escape unescape eval Object Function Array String Number Boolean Symbol BigInt Math JSON Reflect Proxy Date RegExp Promise Map Set WeakMap WeakSet
    ArrayBuffer DataView Iterator AsyncIterator Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array Float16Array Float32Array
    Float64Array TypedArray BigInt64Array BigUint64Array Error TypeError RangeError SyntaxError ReferenceError EvalError URIError AggregateError";
