//! Calls a counter from Rust, and checks each answer here: `cargo run --example counter -- REFERENCE KEY ADDRESS`, with the key and an address of a host
//! that carries the vat or knows it, which is not trusted:
//!
//! ```text
//! HOST=$(vat testnet status --json | jq -r '.[0].status | .key, .listen[0]')
//! cargo run --locked --workspace --example counter -- "$(cat quorate-testnet/refs/counter.ref)" $HOST
//! ```

use quorate_client::Client;
use quorate_proof::{HostId, Member};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{Method, Value};
use std::{error::Error, time::Duration};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, key, address] = &arguments[..] else {
        return Err("usage: counter REFERENCE KEY ADDRESS".into());
    };
    let counter: Sturdyref = reference.parse()?;
    let key: HostId = key.parse()?;
    let host = Member { key, name: "a host".to_owned(), addresses: vec![address.clone()] };
    let client = Client::connect(&counter, &[host]).await?;
    for by in [Value::Number(5.0), Value::String("five".to_owned())] {
        let answer = client.call(client.target(), Method::Call("increment".to_owned()), vec![by], PATIENCE).await?;
        let how = if answer.fulfilled { "the counter is at" } else { "refused:" };
        match answer.value {
            Value::Error { name, message } => println!("{how} {name}: {message}"),
            value => println!("{how} {}", value.to_json()),
        }
    }
    // The vat need not remember this client any more.
    client.close().await;
    Ok(())
}
