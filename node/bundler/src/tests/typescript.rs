//! TypeScript: what goes, what stays where it is, and what is written anew.

use super::*;
use crate::parse::parse;
use oxc_span::SourceType;

/// A module without its types.
fn erased(source: &str) -> String {
    let bundle = good(&format!("-- main.ts\n{source}"));
    bundle.modules["main.ts"].clone()
}

/// The same with runs of white space as one space.
fn squeezed(source: &str) -> String {
    erased(source).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn types_become_spaces_and_everything_else_stays_in_its_place() {
    let source = "\
type Id = string | number;
interface Purse<T extends Id> { balance(): T; deposit(amount: bigint): void }
export type { Id };
const purses = new Map<Id, Purse<Id>>();
export abstract class Base<T> implements Purse<Id> {
  private readonly count: number = 1;
  protected static x?: T;
  declare hidden: string;
  [key: string]: unknown;
  abstract go(): void;
  constructor(a: number, b?: string) {}
  balance(this: Base<T>, other: T): other is T;
  balance(): Id { return this.count! as Id; }
}
function over(a: string): string;
function over<T>(a: T, ...rest: T[]): T { return <T>a; }
const f = async <T,>(x: T): Promise<T> => x satisfies T;
let late!: number, many: [a: number, b?: string] = [1];
for (const one of many as Id[]) { try { over<Id>(one!) } catch (error: unknown) {} }
declare const outside: number;
declare module 'x' { export const y: number }
export default (argv: { price?: number }): object => ({ f, purses, late });
";
    let text = erased(source);
    let stays = |letter: char| letter == '\n' || !letter.is_whitespace();
    for (line, (before, now)) in source.lines().zip(text.lines()).enumerate() {
        assert_eq!(before.chars().count(), now.chars().count(), "line {}: {now}", line + 1);
        for (was, is) in before.chars().zip(now.chars()) {
            assert!(was == is || is == ' ' || is == ';', "line {}: {now}", line + 1);
        }
    }
    assert_eq!(source.lines().count(), text.lines().count());
    assert!(text.chars().filter(|letter| stays(*letter)).count() < source.len());
    for gone in [
        "interface",
        "Id",
        "abstract",
        "readonly",
        "implements",
        "declare",
        "satisfies",
        "Promise",
        "unknown",
        "number",
    ] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(text.contains("constructor(a        , b         ) {}"), "{text}");
    assert!(text.contains("balance()     { return this.count       ; }"), "{text}");
    parse(&text, SourceType::mjs(), |_| ()).expect("JavaScript");
}

#[test]
fn imports_of_types_go_and_others_stay() {
    let bundle = good(
        "-- main.ts\nimport type { A } from './types.js';\nimport { type B, make, C } from './lib.js';\nimport D, { E } from './types.js';\nimport * as types from './types.js';\n\
         import './effect.js';\nexport type { A } from './types.js';\nexport { type B, make, Shape } from './lib.js';\nimport Def, { used } from './lib.js';\n\
         const x: A & B & C & D & E & types.F & Def = make(used);\ninterface Local {}\nexport { x, Local };\nexport type * from './types.js';\n\
         -- lib.ts\nexport interface B {}\nexport interface C {}\nexport const make = (x: unknown) => x, used = 1;\nexport default class {}\nexport type Shape = 1;\n\
         -- types.ts\nexport type A = 1;\nexport default interface D {}\n-- effect.ts\n1;\n",
    );
    assert_eq!(paths(&bundle), ["effect.ts", "lib.ts", "main.ts"]);
    let main: Vec<String> =
        bundle.modules["main.ts"].lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        ";",
        "import { make } from \"./lib.ts\";",
        ";",
        ";",
        "import \"./effect.ts\";",
        ";",
        "export { make, } from \"./lib.ts\";",
        "import { used } from \"./lib.ts\";",
        "const x = make(used);",
        ";",
        "export { x, };",
        ";",
    ];
    assert_eq!(main, expected);
}

#[test]
fn types_that_are_passed_on_without_a_word_are_left_out() {
    let bundle = good(
        "-- main.ts\nimport { Shape, make, type Size } from './all.js';\nexport { Shape, make, Size as S };\nexport { Shape as Other } from './all.js';\n\
         -- all.ts\nexport * from './types.js';\n-- types.ts\nexport type Shape = 1; export const make = 1; export interface Size {}\n",
    );
    let main: Vec<String> =
        bundle.modules["main.ts"].lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(main, ["import { make } from \"./all.ts\";", "export { make, };", "export { } from \"./all.ts\";"]);
}

#[test]
fn spaces_join_nothing_that_stood_apart() {
    for (source, expected) in [
        ("const a = b as T\n(c)", "const a = b ; (c)"),
        ("const a = b as T\n[c]", "const a = b ; [c]"),
        ("f()\ninterface A {}\n(g)", "f() ; (g)"),
        ("const a = (b): {\n x: 1 } => b", "const a = (b ) => b"),
        ("const f = () => { return <\nT\n>x }", "const f = () => { return ( x) }"),
        ("const f = async <\nT\n>(x) => x", "const f = async ( x) => x"),
        ("class A { a = 1\nprivate [b] = 2 }", "class A { a = 1 ; [b] = 2 }"),
        ("class A { get: T\nfoo() {} }", "class A { get; foo() {} }"),
        ("class A { static readonly x = 1 }", "class A { static x = 1 }"),
        ("class A { a?: T; b!: T; c?(): void {} }", "class A { a ; ; b ; ; c () {} }"),
        ("class A extends B<T> implements C<T>, D {}", "class A extends B {}"),
        ("const a = x as unknown as T, b = y!.z!", "const a = x , b = y .z"),
        ("const g = f<string>;", "const g = f ;"),
        ("let ä: 'ü' = 1, b: T", "let ä = 1, b"),
        ("import x = require('./main.js'); x;", "import x from \"./main.ts\"; x; export default 1"),
    ] {
        let source = if source.contains("require") { format!("{source} export default 1") } else { source.to_string() };
        assert_eq!(squeezed(&source), expected, "{source}");
    }
}

#[test]
fn enums_are_written_in_their_own_lines() {
    let text = erased(
        "export enum Side {\n  Buy,\n  Sell = 5,\n  Both, // of them\n}\nconst enum Name { A = 'a', B = `${A}b`, C = A + B, D = 1 << 2, E = D | 1 }\nenum Side2 {}\nexport default [Side.Buy, Name.C];\n",
    );
    let expected = "\
export var Side;(function (Side) {
  Side[Side[\"Buy\"] = 0] = \"Buy\";\u{20}
  Side[Side[\"Sell\"] = 5] = \"Sell\";\u{20}
  Side[Side[\"Both\"] = Side[\"Sell\"] + 1] = \"Both\";  // of them
})(Side || (Side = {}));
var Name;(function (Name) { Name[\"A\"] = 'a';  Name[\"B\"] = `${Name.A}b`;  Name[\"C\"] = Name.A + Name.B;  Name[Name[\"D\"] = 1 << 2] = \"D\";  Name[Name[\"E\"] = Name.D | 1] = \"E\"; })(Name || (Name = {}));
var Side2;(function (Side2) {})(Side2 || (Side2 = {}));
export default [Side.Buy, Name.C];
";
    assert_eq!(text, expected);
    assert_eq!(
        squeezed("enum A { X }\nenum A { Y = 'y' }"),
        "var A;(function (A) { A[A[\"X\"] = 0] = \"X\"; })(A || (A = {})); (function (A) { A[\"Y\"] = 'y'; })(A || (A = {}));"
    );
    assert_eq!(squeezed("declare enum A { X }"), ";");
}

#[test]
fn parameters_that_are_properties_are_assigned() {
    assert_eq!(
        squeezed("class A { constructor(private x: T, readonly y = 1, z: T) { 'use strict'; go(); } }"),
        "class A { constructor( x , y = 1, z ) { 'use strict'; this.x = x; this.y = y; go(); } }"
    );
    assert_eq!(
        squeezed("class A extends B { constructor(public x: T) { super(x)\n this.go() } }"),
        "class A extends B { constructor( x ) { super(x); this.x = x; this.go() } }"
    );
    assert_wrong(
        "-- main.ts\nclass A extends B {\n  constructor(public x: T) { if (x) super(x); }\n}\n",
        &["main.ts:2:3: parameters that are properties want `super(…)`"],
    );
}

#[test]
fn what_cannot_be_erased_is_refused_with_what_to_write() {
    assert_wrong(
        "-- main.ts\nnamespace N { export const a = 1; }\nexport = N;\n@dec class A { accessor x = 1 }\n",
        &[
            "main.ts:1:1: a namespace that holds values is not taken; make it a module",
            "main.ts:2:1: `export =` is of CommonJS; write `export default`",
            "main.ts:3:1: decorators are no part of JavaScript yet",
            "main.ts:3:16: `accessor` is no part of JavaScript yet",
        ],
    );
    assert_eq!(
        squeezed("namespace N { export type A = 1; interface B {} }\ndeclare namespace M { const a: 1 }"),
        "; ;"
    );
}

#[test]
fn commonjs_in_typescript_is_commonjs() {
    let bundle = good(
        "-- main.ts\nimport { a } from './a.cts'; import b from './b.ts';\nexport default [a, b];\n\
         -- a.cts\nexports.a = (x: number): number => x;\n-- b.ts\nmodule.exports = 1 as number;\n",
    );
    assert_eq!(paths(&bundle), ["a.cts", "a.cts.mjs", "b.ts", "b.ts.mjs", "main.ts"]);
    assert_wrong(
        "-- main.ts\nimport './b.ts'; export {};\n-- b.ts\nconst ä: Array<'üüüü'> = []; module.exports = require(ä);\n",
        &["b.ts:1:47: `require` of what is known only"],
    );
}

#[test]
fn endings_of_typescript_are_found_by_those_of_javascript() {
    let bundle = good(
        "-- main.ts\nimport { a } from './a.js'; import { b } from './b'; import { c } from './c.mjs'; import { d } from './d.ts';\na; b; c; d;\n\
         -- a.ts\nexport const a = 1;\n-- b.ts\nexport const b = 1;\n-- c.mts\nexport const c = 1;\n-- d.ts\nexport const d = 1;\n",
    );
    assert_eq!(paths(&bundle), ["a.ts", "b.ts", "c.mts", "d.ts", "main.ts"]);
}
