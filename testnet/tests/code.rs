//! Code as people write it, through the `vat` command: TypeScript with types, enums, JSON and packages, and what is said of mistakes in it.

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::fs;

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
