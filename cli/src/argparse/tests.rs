//! What argparse4j does with these lines was read off Kafka's own tools.

use super::*;

static SEND: Parser = Parser {
    prog: "send",
    description: "Sends.",
    arguments: &[
        Argument::new(&["--topic"], Takes::Text, "where").named("TOPIC").required(),
        Argument::new(&["--count"], Takes::Long, "how many").required(),
        Argument::new(&["--props"], Takes::Several, "more").named("K=V"),
        Argument::new(&["--size"], Takes::Integer, "").within(0),
        Argument::new(&["--any"], Takes::Nothing, "").within(0),
    ],
    groups: &[Group { title: "", description: "one of them", required: true }],
    commands: &[],
};

static TOOL: Parser = Parser {
    prog: "tool",
    description: "",
    arguments: &[
        Argument::new(&["--server"], Takes::Text, "").within(0),
        Argument::new(&["--other"], Takes::Text, "").within(0),
    ],
    groups: &[Group { title: "", description: "", required: true }],
    commands: &[
        Command {
            name: "show",
            help: "Shows.",
            parser: Parser { prog: "tool", description: "", arguments: &[], groups: &[], commands: &[] },
        },
        Command {
            name: "set",
            help: "Sets.",
            parser: Parser {
                prog: "tool",
                description: "",
                arguments: &[Argument::new(&["--id", "-i"], Takes::Integer, "").required()],
                groups: &[],
                commands: &[],
            },
        },
    ],
};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn check(parser: &'static Parser, line: &str, problem: &str) {
    match parse(parser, &words(line)) {
        Err(Refusal::Wrong { text, .. }) => {
            let told = text.split_once(": error: ").map_or(&*text, |(_, told)| told);
            let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(told, problem, "{line}");
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn lines_are_refused_in_its_words() {
    check(&SEND, "", "argument --count is required");
    check(&SEND, "--topic t --count 1", "one of the arguments --size --any is required");
    check(&SEND, "--topic", "argument --topic: expected one argument");
    check(&SEND, "--topic --count", "argument --topic: expected one argument");
    check(&SEND, "--count x", "argument --count: could not convert 'x' to Long (For input string: \"x\")");
    check(
        &SEND,
        "--size 3000000000",
        "argument --size: could not convert '3000000000' to Integer (For input string: \"3000000000\")",
    );
    check(&SEND, "--size 1 --any", "argument --any: not allowed with argument --size");
    check(&SEND, "--any=1", "argument --any: ignore implicit argument '1'");
    check(&SEND, "a b", "unrecognized arguments: 'a b'");
    check(&SEND, "--topik t", "unrecognized arguments: '--topik' Did you mean: --topic");
    check(&SEND, "--props", "argument --props: expected 1 argument(s)");
    check(&TOOL, "", "too few arguments");
    check(&TOOL, "show", "one of the arguments --server --other is required");
    check(&TOOL, "--server a sow", "invalid choice: 'sow' (choose from 'show', 'set') Did you mean: show");
    check(&TOOL, "--server a s", "ambiguous command: s could match set, show");
    check(&TOOL, "--server a set", "argument --id/-i is required");
}

#[test]
fn lines_are_read() {
    let parsed = parse(&SEND, &words("--to t --count -1 --props a=b c=d --an")).unwrap();
    assert_eq!(parsed.text("topic"), Some("t"));
    assert_eq!(parsed.number("count"), Some(-1_i64));
    assert_eq!(parsed.texts("props"), ["a=b", "c=d"]);
    assert!(parsed.has("any") && !parsed.has("size"));
    let parsed = parse(&TOOL, &words("--server=a set -i7")).unwrap();
    assert_eq!((parsed.command, parsed.number::<i32>("id")), (Some("set"), Some(7)));
}

#[test]
fn the_usage_names_what_stands_above_a_command() {
    let Err(Refusal::Help(text)) = parse(&TOOL, &words("--server a set --help")) else { panic!("no help") };
    assert_eq!(text.lines().next(), Some("usage: tool (--server SERVER | --other OTHER) set [-h] --id ID"));
}
