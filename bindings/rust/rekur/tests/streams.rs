//! What the safe face promises: bits of streams and whole sequences, errors instead of wrong reads, threads.
use rekur::{Error, ErrorKind, Input, Model, RateMatch, Stream, StreamInput};

const AMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../cpp/examples/models/amp.safetensors");

fn amp() -> Model {
    Model::load(AMP).unwrap()
}

fn signal(n: usize) -> Vec<f32> {
    (0..n).map(|k| (k as f32 * 0.37).sin() * 0.5).collect()
}

#[test]
fn what_a_model_says() {
    let model = amp();
    assert!(model.spec().contains("\"LSTM\""));
    assert_eq!((model.inputs().len(), model.outputs().len()), (1, 1));
    assert_eq!(model.inputs()[0].shape, [None, None, Some(1)]);
    assert_eq!(model.inputs()[0].len(), None);
    assert_eq!(rekur::version(), env!("CARGO_PKG_VERSION"));
    assert!(rekur::available_isas().contains(&rekur::isa().unwrap()));
}

#[test]
fn steps_blocks_and_sequences_have_the_same_bits() {
    let (model, x) = (amp(), signal(200));
    let whole = &model.predict(&[Input::new(&x, &[1, 200, 1])]).unwrap()[0];
    assert_eq!(whole.shape, [1, 200, 1]);
    let mut stream = model.stream(1).unwrap();
    drop(model);
    let mut by_step = vec![0f32; 200];
    for (x, y) in x.chunks(1).zip(by_step.chunks_mut(1)) {
        stream.step(x, y).unwrap();
    }
    assert_eq!(by_step, whole.values);
    stream.reset();
    let mut by_block = vec![0f32; 200];
    stream.process(&x[..77], &mut by_block[..77]).unwrap();
    stream.process_many(&[StreamInput::Float32(&x[77..])], &mut [&mut by_block[77..]], 123).unwrap();
    assert_eq!(by_block, whole.values);
    assert!(whole.values.iter().any(|&y| y != 0.0));
}

#[test]
fn rows_and_states() {
    let mut stream = amp().stream(2).unwrap();
    assert_eq!(stream.inputs()[0].shape, [Some(2), Some(1)]);
    assert_eq!(stream.states().len(), 2);
    let mut state = vec![0f32; stream.state_size()];
    let mut y = [0f32; 2];
    for _ in 0..5 {
        stream.step(&[0.5, 0.5], &mut y).unwrap();
    }
    assert_eq!(y[0], y[1]);
    stream.get_state(&mut state).unwrap();
    let mut before = [0f32; 2];
    stream.step(&[0.1, 0.1], &mut before).unwrap();
    stream.reset_row(1).unwrap();
    stream.step(&[0.1, 0.1], &mut y).unwrap();
    assert_ne!(y[0], y[1]);
    stream.set_state(&state).unwrap();
    stream.step(&[0.1, 0.1], &mut y).unwrap();
    assert_eq!(y, before);
    assert_eq!(stream.reset_row(2).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(stream.set_state(&state[1..]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(stream.get_state(&mut [0.0]).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn sample_rates() {
    let model = amp();
    let rate = model.sample_rate();
    assert_eq!(model.latency(), 0);
    assert_eq!(model.stream(1).unwrap().rate_match(), RateMatch::Same);
    let at = model.stream_at(1, rate.unwrap_or(48000.0)).unwrap().rate_match();
    assert_eq!(at, if rate.is_some() { RateMatch::Same } else { RateMatch::Unknown });
    assert_eq!(model.stream_at(1, f64::NAN).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn lengths_leave_padding_out() {
    let (model, mut x) = (amp(), signal(40));
    x[10..20].fill(0.0);
    let y = &model.predict(&[Input::new(&x, &[2, 20, 1]).lengths(&[10, 20])]).unwrap()[0].values;
    let alone = &model.predict(&[Input::new(&x[..10], &[1, 10, 1])]).unwrap()[0].values;
    assert_eq!(y[..10], alone[..]);
    let error = model.predict(&[Input::new(&x, &[2, 20, 1]).lengths(&[10])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn wrong_lengths_are_errors_that_say_what_was_expected() {
    let model = amp();
    let mut stream = model.stream(1).unwrap();
    let told = |result: Result<(), Error>, part: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(part), "{error}");
    };
    told(stream.step(&[0.0, 0.0], &mut [0.0]), "x: expected 1 numbers a step, 1 steps of them, got 2 numbers");
    told(stream.step(&[0.0], &mut []), "y: expected 1");
    told(stream.process(&[0.0; 4], &mut [0.0; 3]), "y: expected 1 numbers a step, 4 steps of them, got 3");
    told(stream.process_many(&[], &mut [], 1), "expected 1 inputs and 1 outputs, got 0 and 0");
    told(stream.process_many(&[StreamInput::Int32(&[1])], &mut [&mut [0.0]], 1), "expected Float32, got Int32");
    told(stream.process_many(&[StreamInput::Float32(&[1.0])], &mut [&mut [0.0]], 2), "2 steps");
    told(stream.process_many(&[StreamInput::Float32(&[])], &mut [&mut []], usize::MAX), "x");
    told(model.predict(&[Input::new(&[0.0; 3], &[1, 2, 1])]).map(|_| ()), "inputs[0]: 3 numbers are not the shape");
    told(model.predict(&[Input::new(&[], &[usize::MAX, 2, 0])]).map(|_| ()), "not the shape");
    told(model.predict(&[]).map(|_| ()), "");
    told(model.predict(&[Input::ids(&[1], &[1, 1, 1])]).map(|_| ()), "");
    told(model.stream(0).map(|_| ()), "batch");
    told(Model::load("a\0b").map(|_| ()), "null character");
    assert_eq!(Model::load("there/is/none.safetensors").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(rekur::set_num_threads(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn models_are_shared_and_streams_are_sent() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Model>();
    shared::<Error>();
    sent::<Stream>();
    let (model, x) = (amp(), signal(50));
    let expected = model.predict(&[Input::new(&x, &[1, 50, 1])]).unwrap().remove(0).values;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut stream = model.stream(1).unwrap();
            let (model, x, expected) = (&model, &x, &expected);
            scope.spawn(move || {
                let mut y = vec![0f32; 50];
                stream.process(x, &mut y).unwrap();
                assert_eq!(&y, expected);
                assert_eq!(&model.predict(&[Input::new(x, &[1, 50, 1])]).unwrap()[0].values, expected);
            });
        }
    });
}

#[cfg(feature = "import")]
#[test]
fn other_programs_files() {
    let json =
        br#"{"in_shape": [null, null, 1], "layers": [{"type": "dense", "activation": "", "shape": [null, null, 1],
        "weights": [[[2.0]], [0.5]]}]}"#;
    let model = Model::import_bytes(json).unwrap();
    let y = model.predict(&[Input::new(&[3.0], &[1, 1, 1])]).unwrap();
    assert_eq!(y[0].values, [6.5]);
    assert_eq!(Model::import_bytes(b"{}").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(Model::import("there/is/none.nam").unwrap_err().kind(), ErrorKind::Io);
}
