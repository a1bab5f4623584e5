//! cargo run --release --example amp -- MODEL: sixteen-bit mono samples in, the same out.
use std::io::{self, Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: amp MODEL <samples >samples")?;
    #[cfg(feature = "import")]
    let model = rekur::Model::import(path)?;
    #[cfg(not(feature = "import"))]
    let model = rekur::Model::load(path)?;
    let mut stream = model.stream(1)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let (mut bytes, mut held) = ([0u8; 128], 0);
    loop {
        let read = input.read(&mut bytes[held..])?;
        held += read;
        let whole = held - held % 2;
        let x: Vec<f32> =
            bytes[..whole].chunks(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0).collect();
        let mut y = vec![0f32; x.len()];
        stream.process(&x, &mut y)?;
        for sample in y {
            output.write_all(&((sample.clamp(-1.0, 1.0) * 32767.0) as i16).to_le_bytes())?;
        }
        bytes.copy_within(whole..held, 0);
        held -= whole;
        if read == 0 {
            return Ok(output.flush()?);
        }
    }
}
