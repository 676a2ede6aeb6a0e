//! Command lines against what jopt-simple 5.0.4 makes of them.

use super::*;

const SPECS: &[Spec] = &[
    HELP,
    flag("list", "List."),
    text("topic", "topic", "The topic."),
    text("property", "prop", "A property."),
    int("partitions", "# of partitions", "How many.").or("3"),
    Spec {
        name: "codec",
        takes: Takes::Optional("String", "codec"),
        default: None,
        required: false,
        description: "The codec.",
    },
];

fn check(line: &str, expected: Result<&str, &str>) {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let outcome = Options::parse(SPECS, &arguments).and_then(|options| {
        let partitions: Option<i32> = options.number("partitions")?;
        Ok(format!(
            "list={} topic={:?} property={:?} partitions={partitions:?} codec={}{:?} rest={:?}",
            options.has("list"),
            options.value("topic")?,
            options.values("property"),
            options.has("codec"),
            options.value("codec")?,
            options.rest
        ))
    });
    let outcome = outcome.map_err(|error| error.to_string());
    assert_eq!(outcome, expected.map(str::to_owned).map_err(str::to_owned), "{line}");
}

#[test]
fn reads_as_jopt_simple() {
    let none = "list=false topic=None property=[] partitions=Some(3) codec=falseNone rest=[]";
    check("", Ok(none));
    check(
        "--list --topic=a=b -property x=1 --property y --partitions 7",
        Ok("list=true topic=Some(\"a=b\") property=[\"x=1\", \"y\"] partitions=Some(7) codec=falseNone rest=[]"),
    );
    check("--codec --list", Ok("list=true topic=None property=[] partitions=Some(3) codec=trueNone rest=[]"));
    check(
        "--codec gzip more -- --list",
        Ok("list=false topic=None property=[] partitions=Some(3) codec=trueSome(\"gzip\") rest=[\"more\", \"--list\"]"),
    );
    check(
        "--topic --list",
        Ok("list=false topic=Some(\"--list\") property=[] partitions=Some(3) codec=falseNone rest=[]"),
    );
    check("--groujp x", Err("groujp is not a recognized option"));
    check("-groujp x", Err("g is not a recognized option"));
    check("--top x", Err("top is not a recognized option"));
    check("--topic", Err("Option topic requires an argument"));
    check("--topic a --topic b", Err("Found multiple arguments for option topic, but you asked for only one"));
    check("--partitions x", Err("Cannot parse argument 'x' of option partitions"));
}

#[test]
fn help_is_laid_out_as_by_jopt_simple() {
    // Each expected text is what jopt-simple 5.0.4 prints for the same options.
    const WRAPPED: &[Spec] = &[
        text(
            "broker-list",
            "HOST1:PORT1,...,HOST3:PORT3",
            "DEPRECATED, use --bootstrap-server instead; ignored if --bootstrap-server is specified. The server(s) to \
             connect to in the form HOST1:PORT1,HOST2:PORT2.",
        ),
        int("size", "", "One.\nTwo:\n\tthree").or("5"),
        flag("old", HIDDEN),
    ];
    let expected = [
        "Option                                   Description                           ",
        "------                                   -----------                           ",
        "--broker-list <String: HOST1:PORT1,...,  DEPRECATED, use --bootstrap-server    ",
        "  HOST3:PORT3>                             instead; ignored if --bootstrap-    ",
        "                                           server is specified. The server(s)  ",
        "                                           to connect to in the form HOST1:    ",
        "                                           PORT1,HOST2:PORT2.                  ",
        "--size <Integer>                         One.                                  ",
        "                                         Two:                                  ",
        "                                         \tthree (default: 5)                   ",
        "",
    ];
    let found = help::render(WRAPPED);
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&found), trimmed(&expected.join("\n")), "{found}");
}
