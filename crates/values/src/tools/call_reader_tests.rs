//! What is read out of models' texts: calls in every family's format, and every byte that belongs to no call.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{AnswerPart, CallFormat, CallReader, Tool, ToolCall};

fn tools() -> Vec<Tool> {
    let weather = json!({"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": ["string", "null"]},
        "where": {"type": "object"},
    }});
    let tool = |name: &str, parameters: Option<&Json>| Tool::new(name, None, parameters, "tools[0]").unwrap();
    vec![tool("get_weather", Some(&weather)), tool("now", None)]
}

fn call(name: &str, arguments: Json) -> ToolCall {
    ToolCall::new(name, arguments.as_object().unwrap().clone())
}

/// What is read of these pieces: all text joined, with a mark where each call stood, and the calls.
fn read<'p>(format: CallFormat, pieces: impl IntoIterator<Item = &'p str>) -> (String, Vec<ToolCall>) {
    let mut reader = CallReader::new(format, &tools());
    let mut parts: Vec<AnswerPart> = pieces.into_iter().flat_map(|piece| reader.push(piece)).collect();
    parts.extend(reader.finish());
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in parts {
        match part {
            AnswerPart::Text { text: more, .. } => text += &more,
            AnswerPart::Call(call) => {
                text += "§";
                calls.push(call);
            }
        }
    }
    (text, calls)
}

fn check(format: CallFormat, text: &str, left: &str, calls: &[ToolCall]) {
    assert_eq!(read(format, [text]), (left.to_owned(), calls.to_vec()), "{text}");
    let letters: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(read(format, letters.iter().map(String::as_str)), (left.to_owned(), calls.to_vec()), "{text}");
}

#[test]
fn calls_are_read_in_each_familys_format() {
    let oslo = || call("get_weather", json!({"city": "Oslo", "days": 2}));
    let rome = || call("get_weather", json!({"city": "Rome"}));
    let now = || call("now", json!({}));
    let tagged =
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 2}}\n</tool_call>";
    check(CallFormat::TAGGED, tagged, "§", &[oslo()]);
    check(CallFormat::TAGGED, &format!("Wait.\n{tagged}\n{tagged}\nDone."), "Wait.\n§§\nDone.", &[oslo(), oslo()]);
    check(
        CallFormat::TAGGED,
        "<tool_call>{\"name\": \"now\"}{\"name\": \"now\", \"arguments\": null}</tool_call>\n",
        "§§",
        &[now(), now()],
    );
    // Small models leave the marks away, or one of them.
    check(CallFormat::TAGGED, "\n{\"name\": \"now\", \"arguments\": {}}", "§", &[now()]);
    check(
        CallFormat::TAGGED,
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\nIt is late.",
        "§\nIt is late.",
        &[now()],
    );
    check(CallFormat::TAGGED, "<tool_call>[{\"name\": \"now\", \"parameters\": \"{}\"}]</tool_call>", "§", &[now()]);

    let tags = "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n\
                </function>\n</tool_call>";
    check(CallFormat::TAGS, &format!("I look.\n\n{tags}"), "I look.\n\n§", &[oslo()]);
    check(CallFormat::TAGS, tags.trim_start_matches("<tool_call>\n"), "§", &[oslo()]);
    check(CallFormat::TAGS, "<function=now>\n</function>", "§", &[now()]);
    let odd = "<function=get_weather><parameter=city>\n12\n34\n</parameter>\n<parameter=unit>null</parameter>\n\
               <parameter=where>{\"a\": [1]}</parameter><parameter=days>soon</parameter></function>";
    let expected = call("get_weather", json!({"city": "12\n34", "unit": null, "where": {"a": [1]}, "days": "soon"}));
    check(CallFormat::TAGS, odd, "§", &[expected]);

    let bare = "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\", \"days\": 2}}";
    check(CallFormat::BARE, bare, "§", &[oslo()]);
    check(CallFormat::BARE, &format!("<|python_tag|>{bare}; {bare}\n"), "§§", &[oslo(), oslo()]);
    check(CallFormat::BARE, "{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}", "§", &[now()]);
    check(CallFormat::BARE, "[get_weather(city=\"Oslo\", days=2), now()]", "§§", &[oslo(), now()]);
    check(CallFormat::BARE, &format!("[{bare}]"), "§", &[oslo()]);
    check(CallFormat::BARE, &format!("See: {bare}"), &format!("See: {bare}"), &[]);

    let list = "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 2}}, {\"name\": \"now\", \
                \"arguments\": {}, \"id\": \"abcdefghi\"}]";
    check(CallFormat::MISTRAL, &format!("[TOOL_CALLS]{list}"), "§§", &[oslo(), now()]);
    check(CallFormat::MISTRAL, &format!("[TOOL_CALLS] {list}\n\n"), "§§", &[oslo(), now()]);
    // Where the vocabulary's token is not shown.
    check(CallFormat::MISTRAL, list, "§§", &[oslo(), now()]);
    check(CallFormat::PHI, &format!("<|tool_call|>{list}<|/tool_call|>."), "§§.", &[oslo(), now()]);
    check(CallFormat::PHI, &format!("functools{list}"), "§§", &[oslo(), now()]);
    check(CallFormat::GRANITE, &format!("<|tool_call|>{list}"), "§§", &[oslo(), now()]);
    check(CallFormat::NEMOTRON, &format!("Yes. <TOOLCALL>{list}</TOOLCALL>"), "Yes. §§", &[oslo(), now()]);

    let named =
        "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Oslo\", \"days\": 2}[TOOL_CALLS]now[CALL_ID]a1B2c3D4e[ARGS]{}";
    check(CallFormat::MISTRAL_NAMED, named, "§§", &[oslo(), now()]);
    check(CallFormat::MISTRAL_NAMED, "[TOOL_CALLS]get_weather{\"city\": \"Rome\"}", "§", &[rome()]);

    let gemma =
        "<|tool_call>call:get_weather{city:<|\"|>Oslo<|\"|>,days:2}<tool_call|><|tool_call>call:now{}<tool_call|>";
    check(CallFormat::GEMMA, gemma, "§§", &[oslo(), now()]);
    let odd = "<|tool_call>call:get_weather{city:<|\"|>a}\",<b<|\"|>, where:{x:[1,-2.5,null,word],<|\"|>y<|\"|>:{}}, \"unit\": \"c\"}";
    let expected =
        call("get_weather", json!({"city": "a}\",<b", "where": {"x": [1, -2.5, null, "word"], "y": {}}, "unit": "c"}));
    check(CallFormat::GEMMA, odd, "§", &[expected]);

    let named =
        "<function name=\"get_weather\"><param name=\"city\">Oslo</param><param name=\"days\">2</param></function>";
    check(CallFormat::MINICPM, &format!("So: {named}\n<function name=\"now\"></function>"), "So: §§", &[oslo(), now()]);
    let odd = "<function name=\"get_weather\"><param name=\"city\"><![CDATA[a\n</param> <b>]]></param></function>";
    check(CallFormat::MINICPM, odd, "§", &[call("get_weather", json!({"city": "a\n</param> <b>"}))]);

    let python = "<|tool_call_start|>[get_weather(city=\"Oslo\", days=2), now()]<|tool_call_end|>On it.";
    check(CallFormat::LFM, python, "§§On it.", &[oslo(), now()]);
    let odd = "[get_weather(city='a\\'b)]\\n\\u00e9', where={'x': (1, -2.5e3, True, None), \"y\": []},)]";
    let expected = call("get_weather", json!({"city": "a'b)]\né", "where": {"x": [1, -2500.0, true, null], "y": []}}));
    check(CallFormat::LFM, odd, "§", &[expected]);
}

#[test]
fn what_is_no_call_stays_text() {
    let texts = [
        "",
        " \n",
        "Hello.",
        "{\"label\": \"billing\"}",
        "{\"name\": \"Ada\", \"age\": 3}",
        "{\"name\": \"now\"}",
        "[1, 2, 3]",
        "[]",
        "{}",
        "[{\"name\": \"nobody\", \"arguments\": {}}]",
        "<tool_call>",
        "<tool_call>\n",
        "a < b and <tool_ is no mark, <tool_callx either",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": [}]}</tool_call> and so on",
        "<tool_call>{\"name\": \"nobody\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": 3}</tool_call>",
        "<tool_call>{\"nome\": \"now\"}</tool_call>",
        "<tool_call>not JSON</tool_call>",
        "<function=now",
        "<function=now><parameter=a>1</function>",
        "<function=nobody></function>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS]now[ARGS]",
        "[TOOL_CALLS]now[CALL_ID]",
        "[TOOL_CALLS]nobody[ARGS]{}",
        "[TOOL_CALLS]no name[ARGS]{}",
        "[now(1)]",
        "[now(]",
        "[now() + 1]",
        "<|tool_call_start|>[now(a=1]<|tool_call_end|>",
        "<|python_tag|>print(1)",
        "functools[1] and functools.wraps",
        "<|tool_call>call:now{a:}<tool_call|>",
        "<|tool_call>call:now}",
        "<|tool_call>cold",
        "<function name=\"now\"><param name=\"a\">1</function>",
        "</tool_call> </TOOLCALL>",
        "\u{1F999}<tool_c\u{1F999}",
    ];
    for format in CallFormat::ALL {
        for text in texts {
            check(format, text, text, &[]);
        }
    }
}

#[test]
fn a_broken_call_does_not_hide_the_next_one() {
    let now = call("now", json!({}));
    let whole = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    check(CallFormat::TAGGED, &format!("<tool_call>{whole}"), "<tool_call>§", std::slice::from_ref(&now));
    check(
        CallFormat::TAGGED,
        &format!("<tool_call>{{\"name\": {whole}"),
        "<tool_call>{\"name\": §",
        std::slice::from_ref(&now),
    );
    let list = "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}]";
    check(CallFormat::MISTRAL, &format!("[TOOL_CALLS]{list}"), "[TOOL_CALLS]§", std::slice::from_ref(&now));
    check(CallFormat::TAGGED, &format!("{{\"a\": 1}} {whole}"), "{\"a\": 1} §", &[now]);
}

#[test]
fn texts_come_as_soon_as_they_can_be_no_call() {
    let mut reader = CallReader::new(CallFormat::TAGGED, &tools());
    let text = |text: &str, at: usize| vec![AnswerPart::Text { text: text.to_owned(), at }];
    assert_eq!(reader.push("  "), vec![]);
    assert_eq!(reader.push("It is "), text("  It is ", 0));
    assert_eq!(reader.push("<b>cold</b> <to"), text("<b>cold</b> ", 8));
    assert_eq!(reader.push("wer>"), text("<tower>", 20));
    assert_eq!(reader.push("<tool_call>{\"name\": \"now\", \"arguments\": {"), vec![]);
    assert_eq!(reader.push("}}</tool"), vec![AnswerPart::Call(call("now", json!({})))]);
    assert_eq!(reader.push("_call>\nWell"), text("\nWell", 82));
    assert_eq!(reader.finish(), vec![]);
    // So is a tag that names nothing.
    let mut reader = CallReader::new(CallFormat::TAGS, &tools());
    assert_eq!(reader.push("<function=of x"), text("<function=of x", 0));
    // An answer in JSON is let go at its first key.
    let mut reader = CallReader::new(CallFormat::BARE, &tools());
    assert_eq!(reader.push("{\"label"), vec![]);
    assert_eq!(reader.push("\": "), text("{\"label\": ", 0));
}

#[test]
fn line_feeds_within_texts_are_read() {
    let text = "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"a\nb\tc\\n\"}}</tool_call>";
    check(CallFormat::TAGGED, text, "§", &[call("get_weather", json!({"city": "a\nb\tc\n"}))]);
}

#[test]
fn long_and_deep_calls_are_text_and_end_in_bounded_time() {
    let started = std::time::Instant::now();
    for format in CallFormat::ALL {
        for unit in
            ["<tool_call>{\"name\":", "[TOOL_CALLS][{\"name\": \"", "{\"arguments\":", "[", "<function=", "(", "\"\\"]
        {
            let long: String = std::iter::once(format.open).chain(std::iter::repeat_n(unit, 24_000)).collect();
            let pieces: Vec<&str> =
                long.as_bytes().chunks(7).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(read(format, pieces), (long.clone(), vec![]));
        }
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

/// Whatever calls are written, they are read again; what is around them stays.
fn calls() -> impl Strategy<Value = Vec<ToolCall>> {
    let text = "[ -~\n\u{e9}\u{1F999}]{0,12}";
    let leaf = prop_oneof![
        text.prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        Just(Json::Null),
    ];
    let value = leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..4).prop_map(Json::from_iter),
        ]
    });
    let arguments = prop::collection::hash_map("[a-z_]{1,6}", value, 0..4);
    let one = (prop::bool::ANY, arguments).prop_map(|(is_now, arguments)| {
        ToolCall::new(if is_now { "now" } else { "get_weather" }, arguments.into_iter().collect())
    });
    prop::collection::vec(one, 1..4)
}

fn cut(text: &str, cuts: &[usize]) -> Vec<String> {
    let mut letters = text.chars();
    let mut pieces: Vec<String> = cuts.iter().map(|&n| letters.by_ref().take(n).collect()).collect();
    pieces.push(letters.collect());
    pieces
}

proptest! {
    #[test]
    fn what_is_written_in_a_format_is_read_in_it(calls in calls(), before in "[a-z.]{0,9}", after in "[a-z.]{0,9}") {
        for format in CallFormat::ALL {
            // Tags say nothing of types; a test of their own shows how they are read.
            if [CallFormat::TAGS, CallFormat::MINICPM].contains(&format) || (format == CallFormat::BARE && !before.is_empty()) {
                continue;
            }
            let text = format!("{before}{}{after}", format.write(&calls));
            let (left, read) = read(format, [text.as_str()]);
            prop_assert_eq!(left, format!("{before}{}{after}", "§".repeat(calls.len())), "{}", text);
            prop_assert_eq!(read, calls.clone(), "{}", text);
        }
    }

    /// However the text is cut, the same is read; and without calls it is the text.
    #[test]
    fn cuts_do_not_matter(
        pieces in prop::collection::vec(prop_oneof![
            Just("<tool_call>"), Just("</tool_call>"), Just("{\"name\": \"now\", \"arguments\": {}}"), Just("{\"name\": "),
            Just("[TOOL_CALLS]"), Just("now"), Just("[ARGS]"), Just("[CALL_ID]"), Just("{}"), Just("[{"), Just("}]"), Just(" "),
            Just("\n"), Just(";"), Just("<function=now>"), Just("</function>"), Just("<parameter=a>"), Just("</parameter>"),
            Just("[now()]"), Just("<|tool_call_start|>"), Just("<|tool_call_end|>"), Just("<|tool_call|>"), Just("\""), Just("\\"),
            Just("text"), Just("<"), Just("é"), Just("<|python_tag|>"), Just("<TOOLCALL>"), Just("[now(a='"), Just("'"), Just(")]"),
            Just("<|tool_call>"), Just("<tool_call|>"), Just("call:now{"), Just("a:<|\"|>"), Just("<|\"|>}"), Just("}"),
            Just("<function name=\"now\">"), Just("<param name=\"a\">"), Just("</param>"),
        ], 0..16),
        cuts in prop::collection::vec(0usize..7, 0..40),
    ) {
        let text = pieces.concat();
        for format in CallFormat::ALL {
            let whole = read(format, [text.as_str()]);
            let cut = cut(&text, &cuts);
            prop_assert_eq!(&read(format, cut.iter().map(String::as_str)), &whole, "{:?} {}", format, text);
            if whole.1.is_empty() {
                prop_assert_eq!(&whole.0, &text);
            }
        }
    }
}
