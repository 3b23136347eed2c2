//! Asks a remote one question and prints what came of it: `ask REMOTE.yaml TEXT [SCHEMA.json]`.

use std::error::Error;
use std::time::SystemTime;

use slm_remote::{Client, Question, Remote};
use slm_values::contract::Form;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("give a file with a remote, a text, and a file with a schema where the answer has one".into());
    };
    let remote = Remote::from_value(serde_yaml::from_str(&std::fs::read_to_string(file)?)?)?;
    let form = match arguments.next() {
        Some(schema) => Form::parse(&std::fs::read_to_string(schema)?)?,
        None => Form::Free,
    };
    let client = Client::connect(remote, |name| std::env::var(name).ok(), SystemTime::now)?;
    let answer = client.ask(&Question { text, form, ..Question::default() }).await?;
    println!("{answer:#?}");
    Ok(())
}
