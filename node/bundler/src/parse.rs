//! Parses a source, which may be anything: within a bound of nesting, on a stack that no source exhausts.
//!
//! The parser and what walks its tree recurse. Their stack is a thread's own, as large as the deepest nesting that a source of that length
//! can have would take; the kernel gives memory to what is used of it only. A source whose brackets alone are nested too deeply is refused
//! before it is parsed, and one that nests in another way once its tree shows it.

use crate::mistake::{after, line_of};
use oxc_allocator::Allocator;
use oxc_ast::AstKind;
use oxc_ast::ast::Program;
use oxc_ast_visit::Visit;
use oxc_parser::{ParseOptions, Parser};
use oxc_span::{GetSpan, SourceType};

/// Parts of a tree within one another: well beyond what people or their tools write, and what an engine takes.
pub(crate) const MAX_NESTING: usize = 5_000;
/// Brackets that a source opens and has not closed. Those in strings and comments count, too.
const MAX_OPEN_BRACKETS: usize = 10_000;
/// Bytes of stack for each byte of a source. No construct of the grammar takes a third of it (the test measures), in any profile.
const STACK_PER_BYTE: usize = 3 << 10;
/// Bytes of stack for an empty source.
const STACK: usize = 4 << 20;

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where, in bytes.
    pub at: usize,
    pub problem: String,
    pub fix: String,
}

impl Fault {
    pub fn new(at: impl TryInto<usize>, problem: impl Into<String>, fix: impl Into<String>) -> Fault {
        Fault { at: at.try_into().unwrap_or_default(), problem: problem.into(), fix: fix.into() }
    }

    /// The line and the column, from 1, and the line itself.
    pub fn place(&self, source: &str) -> (usize, usize, Option<String>) {
        let (line, column) = after(&source.as_bytes()[..self.at.min(source.len())]);
        (line, column, line_of(source, line).map(str::to_string))
    }
}

/// Parses `source` and gives its tree to `read`. Errors: what makes it no source, all that the parser found.
pub(crate) fn parse<T: Send>(
    source: &str,
    kind: SourceType,
    read: impl FnOnce(&Program<'_>) -> T + Send,
) -> Result<T, Vec<Fault>> {
    if let Some(at) = too_many_brackets(source) {
        return Err(vec![too_deep(at)]);
    }
    on_roomy_stack(source.len(), || parse_here(source, kind, read))
}

fn on_roomy_stack<T: Send>(
    length: usize,
    work: impl FnOnce() -> Result<T, Vec<Fault>> + Send,
) -> Result<T, Vec<Fault>> {
    let no_stack = |why: &str| {
        let problem = format!("this module of {length} bytes cannot be parsed here ({why})");
        vec![Fault::new(0usize, problem, "split it, or allow this process more memory")]
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("parser".into()).stack_size(STACK + length * STACK_PER_BYTE);
        let Ok(thread) = thread.spawn_scoped(scope, work) else { return Err(no_stack("no room for a stack")) };
        thread.join().unwrap_or_else(|_| Err(no_stack("the parser failed")))
    })
}

fn parse_here<T>(source: &str, kind: SourceType, read: impl FnOnce(&Program<'_>) -> T) -> Result<T, Vec<Fault>> {
    let allocator = Allocator::default();
    let options = ParseOptions { allow_return_outside_function: !kind.is_module(), ..ParseOptions::default() };
    let parsed = Parser::new(&allocator, source, kind).with_options(options).parse();
    let faults: Vec<Fault> = parsed.diagnostics.errors().map(fault).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    if parsed.panicked {
        return Err(vec![Fault::new(0usize, "this is not JavaScript", "correct the syntax")]);
    }
    let mut nesting = Nesting::default();
    nesting.visit_program(&parsed.program);
    match nesting.too_deep {
        Some(at) => Err(vec![too_deep(at)]),
        None => Ok(read(&parsed.program)),
    }
}

fn fault(diagnostic: &oxc_diagnostics::OxcDiagnostic) -> Fault {
    let at = diagnostic.labels.first().map_or(0, oxc_diagnostics::LabeledSpan::offset);
    let help = diagnostic.help.as_ref().map(|help| help.trim_end_matches('.').to_string());
    let problem = format!("SyntaxError: {}", diagnostic.message.trim_end_matches('.'));
    Fault::new(at, problem, help.unwrap_or_else(|| "correct the syntax".to_string()))
}

fn too_deep(at: usize) -> Fault {
    let problem = format!("this is nested too deeply: beyond {MAX_NESTING} parts within one another");
    Fault::new(at, problem, "name parts of it, or move data to a file that argv gives to the vat")
}

/// Returns where a source has too many brackets open at once.
fn too_many_brackets(source: &str) -> Option<usize> {
    let mut open = 0usize;
    source.bytes().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN_BRACKETS
    })
}

#[derive(Default)]
struct Nesting {
    depth: usize,
    too_deep: Option<usize>,
}

impl<'a> Visit<'a> for Nesting {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        self.depth += 1;
        if self.depth > MAX_NESTING && self.too_deep.is_none() {
            self.too_deep = Some(kind.span().start as usize);
        }
    }

    fn leave_node(&mut self, _: AstKind<'a>) {
        self.depth -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Constructs that nest, by what opens and what closes each level, and what stands in the middle.
    const SHAPES: [(&str, &str, &str); 34] = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{", "", "}"),
        ("!", "1", ""),
        ("-+", "1", ""),
        ("typeof ", "1", ""),
        ("new ", "x", ""),
        ("a=>", "1", ""),
        ("a=", "1", ""),
        ("a?b:", "1", ""),
        ("a?", "1", ":b"),
        ("a**", "1", ""),
        ("", "1", "+1"),
        ("", "x", ".a"),
        ("", "x", "()"),
        ("", "x", "[0]"),
        ("", "x", "?.a"),
        ("", "x", "``"),
        ("x`${", "1", "}`"),
        ("if(a)", "1", ""),
        ("if(a){}else ", "1", ""),
        ("for(;;)", "1", ""),
        ("a:", "1", ""),
        ("()=>{", "", "}"),
        ("class A{a=", "1", "}"),
        ("(function(){", "", "})"),
        ("({a:", "1", "})"),
        ("do ", "1", " while(1);"),
        ("let x:Array<", "T", ">"),
        ("(<T>", "x", ")"),
        ("", "x", "!"),
        ("", "x", " as T"),
        ("f<T>(", "1", ")"),
        ("try{", "", "}catch{}"),
    ];

    fn nested(opens: &str, middle: &str, closes: &str, bytes: usize) -> String {
        let levels = bytes / (opens.len() + closes.len());
        format!("{}{middle}{}", opens.repeat(levels), closes.repeat(levels))
    }

    #[test]
    fn no_nesting_exhausts_the_stack() {
        // A third of the stack is enough for whatever nests: an overflow would end this process.
        for (opens, middle, closes) in SHAPES {
            let source = nested(opens, middle, closes, 40_000);
            let third = STACK / STACK_PER_BYTE + source.len();
            let _ = std::thread::scope(|scope| {
                let room = std::thread::Builder::new().stack_size(third * STACK_PER_BYTE / 3);
                let work = || parse_here(&source, SourceType::ts(), |_| ()).map_err(|faults| faults.len());
                room.spawn_scoped(scope, work).expect("a thread").join().expect("no panic")
            });
        }
    }

    #[test]
    fn deep_nesting_is_an_error_with_a_place() {
        let mut refused = 0;
        for (opens, middle, closes) in SHAPES {
            let source = format!("const a = 1;\n{}", nested(opens, middle, closes, 300_000));
            let Err(faults) = parse(&source, SourceType::ts(), |_| ()) else { panic!("{opens}{middle}{closes}") };
            refused += usize::from(faults[0].problem.contains("nested too deeply"));
            assert_eq!(faults[0].place(&source).0, 2, "{opens}{middle}{closes}: {faults:?}");
        }
        assert!(refused > SHAPES.len() * 2 / 3, "{refused}");
    }

    #[test]
    fn what_people_write_is_not_too_deep() {
        for (opens, middle, closes) in
            [("(", "1", ")"), ("[", "1", "]"), ("!", "1", ""), ("", "1", "+1"), ("", "x", ".a()")]
        {
            let levels = 400;
            let source = format!("{}{middle}{}", opens.repeat(levels), closes.repeat(levels));
            assert_eq!(parse(&source, SourceType::mjs(), |_| ()), Ok(()), "{opens}{closes}");
        }
    }
}
