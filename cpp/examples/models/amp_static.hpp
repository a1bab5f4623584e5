// The model "amp" as a type, written by `rekur export-cpp --static`. Do not edit.
//
//   input   signal: float32 [1]
//   output  output: float32 [1]
//
//   amp_static::Model model;      // its states, and nothing else: the weights are constants
//   model.step(input_signal, output_output);  // one time step; process(…, n): n of them
//   model.reset();                 // the beginning of a sequence
//
// C++17 or later. It needs nothing: no library, no heap, no exceptions, no other file. Its numbers are those of a
// rekur::Stream, to the bit where that uses the instruction set that this is compiled for (-march=…); not with
// -ffast-math.
#pragma once

#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__FAST_MATH__)
#error "a static model: -ffast-math changes its numbers, and loses NaN"
#endif

// Products and sums are rounded one by one, whatever -ffp-contract says: a fused multiply-add stands where `fma` does.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"

namespace amp_static {

namespace weights {
alignas(64) inline constexpr float layer_lstm_kernel[80] = {
    -0x1.4075bp-1f, -0x1.285ca6p0f, 0x1.0cb0fap-2f, -0x1.5fb724p-2f, -0x1.94e1dp1f, -0x1.03234cp-3f, 0x1.4ebcbap-2f,
    0x1.276b74p1f, -0x1.1097a4p1f, -0x1.e74ab8p-1f, -0x1.839c0ep-2f, -0x1.d508dep-3f, -0x1.4790b6p-3f, 0x1.1ae70ep-4f,
    -0x1.0532a6p-1f, 0x1.02555p-1f, -0x1.2cff1p-1f, -0x1.f90c9p-2f, -0x1.e69c0ap-2f, 0x1.3df762p-6f, -0x1.edefa2p-1f,
    0x1.a4adcep-5f, -0x1.402218p-3f, 0x1.55fb16p1f, 0x1.b959b2p-4f, 0x1.ce2ae6p-1f, -0x1.949858p-4f, -0x1.963ba8p-1f,
    -0x1.6097fep-2f, -0x1.41ea3p-1f, -0x1.9858f6p-3f, 0x1.40ed1ap-2f, -0x1.a7603ap-5f, -0x1.bcc7bap-9f, -0x1.178e2p-3f,
    0x1.775adap-2f, 0x1.443332p0f, 0x1.e652e6p-4f, 0x1.2f7284p-2f, -0x1.cce338p-1f, 0x1.85b242p-2f, -0x1.85af46p-2f,
    0x1.8c61bep-2f, -0x1.ed108p-3f, 0x1.415514p-2f, -0x1.b1b3p-3f, 0x1.c880c6p-3f, -0x1.034552p-2f, -0x1.7b7662p0f,
    -0x1.88a0dap-2f, -0x1.d42b44p-1f, 0x1.940564p-6f, 0x1.538708p-2f, 0x1.38c83p0f, 0x1.5ec71p-5f, -0x1.2a03ccp0f,
    -0x1.427db2p-1f, -0x1.194b62p-1f, -0x1.ae1d26p-2f, 0x1.2547e4p-1f, 0x1.3eb196p-1f, -0x1.a3f0f2p-5f, 0x1.471392p0f,
    0x1.2c019ep0f,
};
alignas(64) inline constexpr float layer_lstm_recurrent_kernel[1040] = {
    -0x1.3dfb9ep-3f, 0x1.7dc934p-2f, -0x1.40ce34p-4f, -0x1.5950fcp-2f, 0x1.9dc546p-1f, 0x1.5963f4p-3f, -0x1.c3df22p-3f,
    0x1.7787bap-1f, -0x1.bdfac8p-4f, 0x1.c15e12p-4f, -0x1.663c1ap-3f, 0x1.1381ecp-4f, -0x1.46459cp-2f, -0x1.ebf652p-3f,
    -0x1.9cc56p-3f, -0x1.091c4ap-3f, -0x1.c856c8p-3f, 0x1.6335fap-2f, 0x1.07c97p-3f, -0x1.04d2c2p-3f, 0x1.90e5b4p-3f,
    0x1.805da6p-4f, 0x1.24032p-4f, 0x1.1a25e2p-2f, -0x1.862fb2p-5f, 0x1.169dbcp-2f, -0x1.35acaap-3f, -0x1.127ffcp-3f,
    -0x1.cd1902p-3f, -0x1.70c3dap-4f, -0x1.183068p-4f, -0x1.751ep-2f, -0x1.79b5c4p-4f, -0x1.496bf8p-4f,
    -0x1.5301dep-3f, 0x1.fa8bdap-2f, -0x1.1cbf68p-4f, 0x1.1598e4p-3f, 0x1.119796p-7f, 0x1.409ae4p-2f, 0x1.28fcecp-3f,
    -0x1.f6e33ap-4f, -0x1.69552ap-4f, -0x1.9cca5cp-8f, -0x1.510a6p-2f, 0x1.265884p-5f, -0x1.50b3fap-3f, 0x1.7c1e58p-3f,
    -0x1.ab03f8p-3f, -0x1.fdbaf6p-4f, -0x1.72ff8cp-3f, -0x1.07c278p-2f, -0x1.bfb5c2p-1f, 0x1.57339ep-3f,
    -0x1.ad516ap-3f, -0x1.bf9b6ap-4f, 0x1.fb9614p-3f, 0x1.bed658p-4f, -0x1.011aep-3f, -0x1.e966c6p-4f, -0x1.2d3ac4p-3f,
    -0x1.a6499p-3f, 0x1.238b94p-4f, -0x1.3acd72p-2f, -0x1.31df9cp-2f, 0x1.34169cp-2f, -0x1.34fd18p-5f, 0x1.6ae458p-3f,
    -0x1.d93f9ap-5f, 0x1.2998b6p-2f, -0x1.568fd4p-2f, 0x1.48a1c8p-1f, 0x1.2781ep-3f, 0x1.5f0128p-4f, 0x1.a13cbap-4f,
    -0x1.7ae07ap-5f, -0x1.2c21e2p-2f, 0x1.89f34ep-4f, 0x1.07c37ep-2f, 0x1.48e528p-12f, -0x1.95a774p-2f, 0x1.2d507ep-4f,
    -0x1.188cf2p-6f, -0x1.c8bfa4p-7f, 0x1.99a51ap-2f, 0x1.c197c2p-3f, -0x1.8fd526p-3f, 0x1.77f2a2p-3f, -0x1.48199ep-4f,
    0x1.5286ccp-4f, -0x1.17ec22p-2f, 0x1.8967ccp-4f, -0x1.55be44p-3f, -0x1.0274b4p-2f, 0x1.3c1f4p-3f, -0x1.2b06d8p-6f,
    -0x1.068116p-3f, 0x1.ac4084p-6f, 0x1.bdb41ap-5f, 0x1.a84a5ap-3f, 0x1.c34202p-4f, 0x1.15786ep-2f, 0x1.6bf9b6p-3f,
    -0x1.fc49d4p-3f, 0x1.f9ee46p-9f, -0x1.1e8f44p-3f, -0x1.e82808p-3f, -0x1.8e9f96p-9f, -0x1.2e801ep-3f,
    0x1.3c7b8cp-3f, 0x1.40a32ep-4f, -0x1.947862p-4f, -0x1.967614p-1f, 0x1.b4ba9p-7f, -0x1.0e9ff4p-3f, 0x1.7ffceap-2f,
    -0x1.b8b7dep0f, 0x1.9ad1bcp-3f, -0x1.f45e92p-4f, -0x1.d758eap-2f, -0x1.76e76cp-6f, 0x1.77c6f6p-5f, -0x1.4f1c5ep-2f,
    -0x1.3e5494p-7f, 0x1.347c96p-6f, 0x1.72851p-4f, -0x1.fb97b4p-9f, 0x1.51e784p-5f, 0x1.280aaep-3f, 0x1.d91954p-3f,
    -0x1.4d4fb6p-10f, -0x1.9dd5b6p-4f, 0x1.1a71e8p0f, 0x1.dc52fep-2f, -0x1.06413ap-2f, 0x1.7a7da2p0f, 0x1.ab4976p-4f,
    0x1.8102f4p-2f, -0x1.8d0ef4p-4f, 0x1.3c5246p-3f, -0x1.e3ef2ep-3f, 0x1.9687d6p-4f, 0x1.a3cb36p-5f, -0x1.06f8b2p-2f,
    -0x1.943d9ap-2f, 0x1.1ca15ap-3f, 0x1.5e9b3ep-5f, -0x1.349768p-3f, 0x1.212edcp-1f, 0x1.26c354p-2f, -0x1.799f8ap-3f,
    -0x1.2443dp-2f, 0x1.71fceap-7f, 0x1.20f8bcp-2f, -0x1.c786c8p-3f, 0x1.03f536p-1f, -0x1.0b0b7cp-1f, 0x1.a59ce2p-4f,
    0x1.5201bp-6f, 0x1.ff9392p-4f, 0x1.561c46p-3f, 0x1.0254dap-3f, -0x1.e6bd16p-4f, 0x1.0cfadp-3f, -0x1.0905f4p-3f,
    0x1.b5e39cp-2f, 0x1.907444p-5f, -0x1.8190cp-3f, 0x1.8d8b76p-4f, -0x1.0bcde8p-4f, 0x1.cd735p-3f, 0x1.ba4a82p-3f,
    -0x1.b3931p-4f, 0x1.b465bcp-4f, 0x1.9f0a34p-4f, -0x1.8df046p-5f, -0x1.be4336p-5f, -0x1.83800cp-6f, -0x1.55b40ep-4f,
    0x1.d1c7e2p-5f, -0x1.39a4fap-1f, 0x1.6fc884p-2f, -0x1.2df7e8p-3f, 0x1.4d01f8p-3f, 0x1.d22d0ap-5f, 0x1.eedacp-5f,
    0x1.761a02p-3f, 0x1.d4631cp-3f, 0x1.ab951p-6f, 0x1.2a6b26p-4f, 0x1.055c3p-2f, 0x1.9da46ep-6f, -0x1.a10e8ep-5f,
    0x1.2b5c68p-3f, -0x1.00445cp-5f, 0x1.84df8cp-4f, -0x1.d32dd6p-1f, -0x1.191dcp-2f, 0x1.7ae914p-3f, -0x1.4ad8ep-1f,
    -0x1.a511dp-4f, -0x1.623096p-4f, -0x1.3b703p-2f, -0x1.4bacbcp-3f, 0x1.184b38p-3f, 0x1.10271p-7f, -0x1.59ec16p-2f,
    0x1.b8a638p-4f, -0x1.0339f4p-2f, -0x1.0d043p-3f, -0x1.4ca8d4p-2f, 0x1.9e8d9cp-4f, -0x1.81a1d8p-1f, 0x1.3f75c2p-5f,
    0x1.79f464p-9f, 0x1.25feap-1f, 0x1.112bd8p-4f, -0x1.b4f2a2p-4f, -0x1.1a6e12p-3f, -0x1.4e422cp-3f, -0x1.49366ap-3f,
    -0x1.f04c2p-3f, -0x1.ddb254p-3f, -0x1.2de79cp-12f, -0x1.9c036ap-3f, -0x1.4c2f18p-2f, -0x1.104714p-2f,
    -0x1.a72ee8p-3f, 0x1.937e5p-3f, -0x1.7968eap-3f, 0x1.4c44e8p-5f, 0x1.1fdba4p-1f, -0x1.d8023cp-3f, 0x1.33b61p-3f,
    0x1.443e2ep-3f, -0x1.d2dd8cp-5f, -0x1.bc8e62p-3f, -0x1.30f31ap-2f, -0x1.9aec12p-3f, -0x1.53f5b6p-4f, 0x1.c65f6p-5f,
    -0x1.057138p-4f, -0x1.1338dcp-2f, -0x1.6cb084p-5f, 0x1.97a0aep-1f, -0x1.781956p-2f, 0x1.3e4546p-3f, 0x1.21c14cp-2f,
    -0x1.64ae1p-11f, -0x1.841a3cp-4f, -0x1.28e65ep-4f, -0x1.f499bp-7f, -0x1.fcc5eap-2f, -0x1.cc71b4p-3f,
    -0x1.8141fp-3f, -0x1.08bc54p-4f, -0x1.a36af8p-4f, -0x1.27c6dep-2f, -0x1.08f244p-4f, -0x1.5b3548p-5f,
    -0x1.47ca98p0f, -0x1.91c7d2p-1f, 0x1.e156bep-7f, -0x1.8db8ccp-1f, 0x1.b8c33ep-3f, -0x1.b2ee4ep-4f, -0x1.6f1d7p-4f,
    -0x1.7f36b2p-3f, 0x1.d737fap-5f, -0x1.f93d46p-3f, -0x1.e57f4ap-3f, -0x1.bfd75cp-4f, 0x1.ad0612p-2f, -0x1.0af13p-2f,
    -0x1.4156c6p-3f, 0x1.289938p-5f, -0x1.7c8ff8p-3f, -0x1.27da78p-2f, 0x1.8da6f6p-6f, 0x1.635a7cp-1f, -0x1.e06cep-3f,
    -0x1.e35116p-3f, 0x1.ae8248p-3f, -0x1.3f02a6p-4f, 0x1.644536p-3f, -0x1.6ba464p-3f, -0x1.c4a756p-6f,
    -0x1.70379cp-3f, -0x1.0b9bf8p-4f, -0x1.c374fcp-5f, 0x1.07ce52p-3f, -0x1.40ebbcp-2f, 0x1.7bf9d8p-3f,
    -0x1.765edep-2f, -0x1.ffba26p-5f, 0x1.fe130cp-2f, -0x1.3aa77p-3f, -0x1.531ac8p-3f, -0x1.f21a26p-4f,
    -0x1.1ed916p-2f, -0x1.b791bap-3f, -0x1.b50428p-4f, -0x1.54e192p-2f, 0x1.7541d8p-4f, 0x1.c1fb0ap-3f, 0x1.05bb9ap-1f,
    -0x1.4ada3ap-7f, -0x1.104914p-4f, 0x1.a83636p-1f, -0x1.88863ap-1f, 0x1.55cac4p-3f, 0x1.fddab6p-3f, -0x1.6f1762p-3f,
    -0x1.738f84p-4f, 0x1.fc15fcp-3f, 0x1.f502aap-4f, -0x1.ee2244p-2f, -0x1.c2f8bp-5f, -0x1.ffcd54p-3f, -0x1.5f6402p-2f,
    0x1.0b3028p-1f, -0x1.7f5312p-4f, 0x1.cc1d06p-5f, -0x1.6701b2p-6f, -0x1.ea6b32p-1f, 0x1.c4e60cp-7f, 0x1.4ec348p-4f,
    -0x1.5b213ap-5f, 0x1.15db32p-2f, 0x1.79d9aep-7f, 0x1.2a108ap-4f, 0x1.d84106p-4f, 0x1.1ef13p-2f, 0x1.2d53cp-3f,
    -0x1.f68476p-4f, -0x1.2b1948p-5f, -0x1.cac662p-2f, -0x1.9559c6p-2f, -0x1.16ad9ap-2f, 0x1.41be98p-5f,
    -0x1.eb1a2cp-1f, 0x1.cd8f6cp-3f, 0x1.ccda2ap-7f, 0x1.e1d592p-1f, 0x1.3445d4p-3f, -0x1.955454p-2f, 0x1.cafd78p-2f,
    -0x1.3f3938p-3f, -0x1.d08ff4p-3f, -0x1.897928p-6f, -0x1.ef7042p-5f, 0x1.47f1c2p-2f, -0x1.b2a3dcp-2f,
    -0x1.69f874p-2f, -0x1.029edcp-5f, -0x1.a3ac16p-10f, 0x1.ce2b5ap-3f, -0x1.464f52p-4f, -0x1.2e078cp-3f,
    0x1.d394d6p-2f, -0x1.242dc2p-2f, -0x1.250138p-4f, 0x1.53c2cp-5f, -0x1.115dccp-2f, -0x1.88df6ep-2f, -0x1.339096p-2f,
    -0x1.b0527ap-4f, -0x1.90ae54p-8f, 0x1.10ca7ep-3f, -0x1.594a26p-2f, 0x1.780ebp-4f, -0x1.5f8e3ap-7f, -0x1.c5e922p-2f,
    0x1.f054b2p-3f, 0x1.02c9dcp-5f, 0x1.fc003ep0f, -0x1.0764cep-5f, -0x1.7356e2p-4f, 0x1.3ff9bp-5f, -0x1.6ba9p-4f,
    -0x1.61dd1ap-2f, 0x1.61f04ep-3f, -0x1.c2d78p-2f, -0x1.8ba332p-4f, -0x1.d8d1e4p-6f, 0x1.489e7ep-4f, -0x1.f30c4cp-5f,
    -0x1.15818cp-2f, -0x1.6a873ep-2f, -0x1.3b0e4p-7f, -0x1.0b526ap-6f, -0x1.2cfc14p-2f, 0x1.c282c8p-6f,
    -0x1.55cc34p-3f, 0x1.2a06a4p-3f, -0x1.7ad97ep-5f, -0x1.6cc674p-2f, 0x1.4c182ep-6f, -0x1.8714d4p-4f, 0x1.9f112ap-3f,
    -0x1.b204fp-5f, 0x1.3cbe54p-8f, 0x1.8fc5eap-4f, 0x1.207e94p-5f, 0x1.c82bccp-5f, -0x1.0b7a02p-4f, -0x1.2b22b4p-3f,
    -0x1.911058p-5f, 0x1.04303ap-3f, -0x1.ebcfe4p-3f, 0x1.c5691p-4f, -0x1.b444dp-6f, 0x1.024338p-5f, -0x1.378774p-2f,
    -0x1.df9c7cp-3f, 0x1.e930a8p-8f, -0x1.0f399cp-3f, -0x1.4dbcdep-6f, -0x1.24f4ecp-3f, 0x1.2b3a2cp-4f, 0x1.508b08p-4f,
    -0x1.72620ap-3f, 0x1.3c6bf4p-4f, 0x1.30f37cp-7f, 0x1.fddce4p-4f, -0x1.9d072cp-4f, 0x1.5471fp-2f, -0x1.eb371ep-4f,
    -0x1.b022e4p-2f, -0x1.11cdc8p-3f, -0x1.cc37f8p-2f, 0x1.8c86a8p-3f, -0x1.0a10a2p-3f, 0x1.c87bbcp-5f,
    -0x1.1e60e8p-5f, -0x1.0c4c64p-3f, -0x1.045294p-2f, -0x1.f98208p-3f, -0x1.853ac6p-7f, -0x1.04d9b6p-1f,
    -0x1.11706cp-3f, -0x1.871f22p-2f, 0x1.7cfa8cp-6f, -0x1.fccfe4p-4f, -0x1.5c577ap-2f, -0x1.155fcep-3f,
    -0x1.d385cp-3f, 0x1.10d2f8p-4f, 0x1.955bcp-4f, 0x1.d27652p-8f, -0x1.1245bcp-4f, -0x1.98f718p-3f, 0x1.523d8cp0f,
    -0x1.7d8dccp-4f, -0x1.24e6a4p-6f, 0x1.825accp-2f, -0x1.f43408p-5f, 0x1.dc53e2p-3f, -0x1.e9c794p-4f,
    -0x1.f4b9a4p-6f, 0x1.7c41a4p-3f, -0x1.741dcp-4f, 0x1.aeaf48p-3f, 0x1.2edda2p-3f, -0x1.18144p-2f, -0x1.c905p-2f,
    -0x1.951646p-3f, -0x1.c62cf8p-2f, 0x1.57ce32p-15f, -0x1.00d842p-1f, -0x1.badae4p-6f, -0x1.0281c2p-1f,
    0x1.541044p-2f, 0x1.9cb578p-5f, -0x1.e902a2p-5f, 0x1.95c8b8p-3f, 0x1.1189cp-2f, -0x1.1ff694p-5f, 0x1.3065aap-2f,
    0x1.c9df18p-3f, 0x1.e3cbccp-2f, 0x1.044ebp-3f, 0x1.ad6f34p-3f, 0x1.6adeaap-3f, -0x1.e3dd5cp-3f, 0x1.8362fp-5f,
    0x1.c3e234p-3f, -0x1.f3d92ap-2f, 0x1.a1ef0cp-2f, 0x1.57a5e8p-5f, 0x1.6a8b5ep-4f, 0x1.760618p-2f, 0x1.5dc292p-1f,
    0x1.e8c47ap-3f, 0x1.302e36p-4f, -0x1.08215p-2f, 0x1.9c2c2p-3f, 0x1.9a2262p-4f, 0x1.38a43p-2f, -0x1.37eff2p-3f,
    0x1.1c123p1f, 0x1.c5e5fep-6f, 0x1.07fecep-3f, -0x1.23bd9cp-2f, 0x1.35ff22p-3f, -0x1.1a59b4p-5f, -0x1.23ed74p-3f,
    0x1.ee785ap-2f, 0x1.c42ccep-2f, -0x1.dcf994p-4f, 0x1.d9faf4p-4f, 0x1.bbec92p-4f, 0x1.d35c02p-2f, 0x1.e17106p-4f,
    0x1.0d8df2p-1f, 0x1.2c2bbep-3f, 0x1.d61c36p-1f, 0x1.042ad6p-2f, -0x1.7f47fap-5f, 0x1.8ca9bap-1f, 0x1.c3def8p-4f,
    0x1.0cc7e2p-1f, -0x1.17ea9ep-4f, 0x1.bd10a2p-4f, 0x1.546422p-3f, -0x1.17e0b6p-5f, 0x1.eb450cp-5f, 0x1.62588cp-3f,
    -0x1.14569ep-1f, 0x1.66d8d2p-5f, -0x1.146dc6p-3f, -0x1.90d58ep-3f, -0x1.48993p-9f, -0x1.323f14p-2f,
    -0x1.297faep-4f, 0x1.50469p-1f, 0x1.05a18ep-3f, -0x1.005176p-3f, 0x1.438bd8p-5f, 0x1.871fcp-6f, -0x1.2e84acp-3f,
    0x1.144142p-8f, -0x1.2ceac8p-3f, 0x1.81f2dp-4f, -0x1.69c26ep-4f, -0x1.12524p-3f, -0x1.1afa88p-8f, 0x1.8e8aa4p-6f,
    0x1.1f1a6p-3f, -0x1.0cce12p-4f, -0x1.a8bbc4p-2f, 0x1.8641fep-1f, -0x1.8f9a16p-5f, -0x1.805c8ep-3f, 0x1.0b3788p-2f,
    -0x1.52ad36p-3f, -0x1.1c96cap-2f, -0x1.81d9fap-5f, -0x1.de28e6p-4f, -0x1.4a43ep-6f, 0x1.085636p-3f, 0x1.11c06p-2f,
    0x1.f23a16p-3f, -0x1.62e468p-4f, 0x1.a6b696p0f, -0x1.3661a6p-3f, -0x1.e528f2p-7f, 0x1.da4686p-1f, 0x1.2d615ep-2f,
    0x1.e6f486p-5f, 0x1.82aeecp-7f, 0x1.8e9016p-3f, 0x1.059b3ap-4f, 0x1.3e243ep-3f, 0x1.bcbe62p-3f, 0x1.a916aep-10f,
    0x1.a4daf6p-4f, 0x1.293292p-3f, 0x1.f88194p-4f, -0x1.ddc766p-4f, 0x1.e8d84cp-3f, 0x1.8a8e5ep-3f, 0x1.3df47ap-5f,
    0x1.745122p-5f, -0x1.31ef28p-2f, 0x1.9a9fb4p-5f, -0x1.0fbcd8p-3f, -0x1.78f166p-2f, -0x1.7d9652p-4f, 0x1.f65244p-5f,
    -0x1.c8176ap-4f, -0x1.1c35e4p-2f, 0x1.504cb8p-4f, 0x1.8edd2ep-2f, 0x1.0d7af6p-1f, 0x1.8b67bp-5f, 0x1.7c5af8p-2f,
    0x1.7a5c9cp-2f, 0x1.8edc88p-4f, -0x1.676d3cp-3f, 0x1.4e86c4p-5f, 0x1.ddf81p-4f, -0x1.530e72p-3f, -0x1.50841p-8f,
    0x1.b6daa6p-3f, -0x1.92f67ep-6f, 0x1.724f5cp-3f, -0x1.8d7db8p-3f, 0x1.433a58p-3f, 0x1.bd396cp-6f, 0x1.a48caap-5f,
    0x1.085aa8p-2f, 0x1.ece0dcp-6f, 0x1.2e3cbep-2f, 0x1.ebbdf8p-7f, -0x1.ae894cp-2f, 0x1.642fa8p-4f, 0x1.9597dap-4f,
    -0x1.335b86p-4f, 0x1.eb2dbcp-4f, 0x1.65ab4ep-5f, 0x1.1fca9cp-3f, 0x1.20b1fcp-3f, -0x1.2f9488p-2f, -0x1.e97656p-4f,
    -0x1.2519d4p-4f, 0x1.c0808cp-5f, 0x1.8692acp-5f, -0x1.67ffa4p0f, 0x1.41de8p-2f, -0x1.262406p-2f, -0x1.d36034p-2f,
    -0x1.516d12p-2f, 0x1.66a8p-3f, -0x1.396bcap-3f, 0x1.11f6d4p-2f, 0x1.9fa2c6p-4f, 0x1.be3208p-4f, 0x1.a25f0ep-3f,
    -0x1.1059dep-3f, -0x1.62ca4p-2f, -0x1.4b6f36p-4f, 0x1.316f66p-4f, -0x1.1aeceap-2f, -0x1.4cd646p-2f,
    -0x1.cdeb4ap-3f, 0x1.6f0206p-3f, 0x1.aeb7cp-5f, -0x1.befec2p-4f, 0x1.c6f0b4p-5f, 0x1.63080ap-2f, -0x1.130502p-4f,
    -0x1.213c14p-2f, 0x1.1ac4cep-4f, -0x1.05a1d2p-2f, -0x1.06d918p-6f, -0x1.68334ep-1f, -0x1.40cab6p-2f,
    -0x1.11b314p-3f, -0x1.e60f5p-4f, -0x1.ba1128p-2f, -0x1.d53f7ap-6f, -0x1.d815dp-4f, 0x1.498caep-2f, 0x1.eebc4cp-4f,
    -0x1.6ba056p-4f, 0x1.ad77e4p-4f, -0x1.852814p-3f, -0x1.096b8ap-1f, -0x1.05fbfcp-3f, -0x1.6135dap-2f,
    0x1.90a146p-4f, 0x1.3a67bep-4f, -0x1.8cdf8ep-4f, -0x1.0e2542p-4f, 0x1.4b9224p-5f, 0x1.40c668p-4f, -0x1.be1962p-4f,
    -0x1.94e7c6p-5f, 0x1.d7dc7ap-2f, -0x1.ea62p-6f, -0x1.f73672p-4f, 0x1.058f2ap-5f, -0x1.801676p-2f, -0x1.29ee92p-3f,
    -0x1.3b776ap-2f, -0x1.02b82ap-2f, -0x1.2abd44p-4f, -0x1.8a42dep-2f, -0x1.270cb2p-5f, -0x1.cc4a3ep-5f,
    -0x1.17089ap-8f, 0x1.a1ae38p-1f, -0x1.c4317cp-3f, 0x1.4b213ep-3f, 0x1.61659ap-1f, 0x1.6a9538p-5f, -0x1.488586p-5f,
    -0x1.167ac6p-7f, -0x1.05d16cp-3f, -0x1.42c5d2p-3f, -0x1.029c02p-3f, -0x1.0fc7c6p-3f, 0x1.193abcp-4f,
    0x1.350804p-1f, 0x1.39092cp-4f, -0x1.623aa2p-10f, 0x1.e212cap-3f, 0x1.c852ap-1f, 0x1.725078p-3f, -0x1.39dab8p-7f,
    0x1.72017p-1f, -0x1.f0c5b8p-3f, 0x1.64fbc6p-2f, 0x1.0f71a2p-3f, 0x1.b11df4p-7f, 0x1.36edep-6f, 0x1.68aed2p-4f,
    0x1.cee9a4p-6f, -0x1.9889fap-4f, 0x1.a7e0bap-3f, -0x1.835ed6p-3f, 0x1.2513aap-2f, -0x1.5c9e1p-2f, 0x1.6352fcp-3f,
    -0x1.d21a1p-4f, -0x1.532ed8p-3f, 0x1.287d32p-3f, 0x1.6f5aeap-6f, 0x1.0ac6p-4f, 0x1.5f7d18p-3f, -0x1.0c8bf2p-7f,
    -0x1.db4b4p-3f, 0x1.33d0bap-4f, -0x1.3e1de8p-5f, -0x1.f4cbb8p-3f, -0x1.5e7168p-3f, -0x1.40028p-3f, 0x1.002d4cp-3f,
    0x1.a2fccep-4f, 0x1.40586ap-4f, -0x1.8503b8p-6f, -0x1.8f82dep-7f, 0x1.96940cp-5f, 0x1.a4e982p-4f, -0x1.5fdbecp-4f,
    -0x1.eeffbap-7f, -0x1.f6a862p-6f, -0x1.2d57ap-4f, 0x1.6576a2p-3f, 0x1.673252p-3f, 0x1.22cc32p-2f, 0x1.ec5b74p-1f,
    0x1.16cb76p-3f, -0x1.c01beap-4f, 0x1.250bf4p-2f, 0x1.598922p-2f, 0x1.57dba8p-5f, -0x1.6c40bep-9f, 0x1.1dcd7ep0f,
    0x1.142226p-3f, 0x1.cac9aap-2f, 0x1.1ca1c4p-2f, -0x1.11f496p-3f, -0x1.bfdeaep-6f, 0x1.870f48p-4f, 0x1.07a59p-3f,
    -0x1.b4e8e4p-2f, 0x1.5246f4p-3f, -0x1.3ef3e8p-2f, 0x1.16f756p-2f, 0x1.dc37b6p-3f, 0x1.81958ap-3f, 0x1.e8819ep-4f,
    0x1.755348p-4f, 0x1.84195p-1f, -0x1.1fbd34p-2f, -0x1.447144p-5f, 0x1.a62662p-6f, 0x1.d7ec52p-3f, 0x1.36d5fap-5f,
    0x1.573bfcp-4f, 0x1.00b976p-3f, -0x1.04d5b2p-2f, -0x1.b24d04p-4f, -0x1.85358cp-6f, -0x1.6c6dcap-3f,
    -0x1.10bf14p-3f, -0x1.384378p-4f, -0x1.4a447ap-1f, -0x1.359442p-5f, -0x1.e4b9bep-6f, 0x1.ae78a2p-5f,
    -0x1.9e5f2ap-6f, 0x1.5587dcp-2f, 0x1.9a5bc8p-3f, -0x1.4bd564p-2f, 0x1.bd46b2p-3f, -0x1.ff146p-5f, -0x1.a3ed92p-3f,
    -0x1.3fed34p-3f, -0x1.171dd4p-2f, -0x1.4a4dd2p-4f, -0x1.c2f7p-4f, 0x1.5a833p-2f, -0x1.416922p-4f, -0x1.63d28ap-4f,
    0x1.5db8c8p-3f, 0x1.908c84p-6f, -0x1.ceba5p-3f, -0x1.df3844p-4f, 0x1.1a1ed4p-5f, -0x1.b2392cp-3f, -0x1.0c0efep-2f,
    0x1.7683f4p-3f, 0x1.b14382p-3f, 0x1.af00bep-3f, -0x1.5b1194p-6f, -0x1.0f3b0cp-3f, 0x1.8caf8ep-3f, 0x1.f18ac6p-3f,
    0x1.21b288p-3f, -0x1.5240bap-4f, 0x1.bcccf8p-1f, 0x1.c6762ep-3f, 0x1.84d7cp-2f, -0x1.16eaap-9f, 0x1.32fa64p-3f,
    0x1.e35776p-4f, -0x1.d196e8p-6f, -0x1.abc582p-5f, -0x1.7dd7c2p-3f, 0x1.e1cdb2p-2f, -0x1.2b587p-3f, 0x1.59272p-3f,
    0x1.6dc58p-3f, 0x1.3d506cp-1f, 0x1.3628c2p-8f, -0x1.b3619cp-4f, 0x1.174348p-1f, -0x1.24744cp-2f, -0x1.621afap-7f,
    -0x1.03a8bap-7f, -0x1.a1b0e8p-3f, -0x1.060ffcp-3f, 0x1.aed9a6p-4f, -0x1.426c24p-6f, -0x1.cff3d2p-5f,
    0x1.1744e2p-2f, 0x1.c6d8d2p-2f, 0x1.460914p-4f, 0x1.1a8f9ep-5f, -0x1.e4a22cp-4f, -0x1.ca7e9cp-6f, -0x1.74e208p-3f,
    -0x1.62594ep-3f, -0x1.754298p-2f, 0x1.a08f6ep-4f, 0x1.6005e6p-5f, 0x1.1c7dc8p-5f, 0x1.1f1c5ap-8f, 0x1.6d2e5cp-4f,
    0x1.7c0d5ap-4f, -0x1.3a39b4p-8f, -0x1.9a188ap-4f, -0x1.9fdbb2p-3f, -0x1.a4b244p-2f, 0x1.3fefcap-4f, 0x1.b6a3dp-3f,
    -0x1.5d02c4p-6f, -0x1.063f36p-3f, -0x1.c3872p-9f, 0x1.86b02ep-5f, -0x1.49300ep-2f, -0x1.1ddd6cp-4f, 0x1.933dep-5f,
    0x1.1131f2p-2f, 0x1.3907acp-2f, 0x1.a9f5p-3f, 0x1.caf18p-4f, 0x1.54c2e8p-1f, 0x1.6501d6p-3f, 0x1.ef6c76p-4f,
    0x1.744a5p-5f, 0x1.8371a2p-5f, 0x1.e122a6p-4f, 0x1.c4158cp-4f, 0x1.69c95cp-1f, 0x1.efbc68p-4f, 0x1.248686p-2f,
    0x1.7561a8p-4f, -0x1.8ec9d6p-5f, -0x1.66cb92p-6f, 0x1.668636p-3f, -0x1.a34d5p-7f, -0x1.19b1e8p-3f, 0x1.77356p-3f,
    0x1.4d7adp-5f, 0x1.b49bd4p-4f, 0x1.718382p-4f, 0x1.2dbd16p-7f, 0x1.ed82fep-6f, -0x1.5464dep-3f, 0x1.391a02p-2f,
    -0x1.0b60f6p-4f, 0x1.40f142p-3f, 0x1.74631p-5f, -0x1.f44494p-4f, 0x1.b1d7d2p-3f, 0x1.404b8ap-4f, -0x1.774af8p-4f,
    -0x1.1e58bap-2f, -0x1.d41cp-4f, 0x1.54a51ap-8f, 0x1.12d6a6p-4f, -0x1.6c7e3ap-2f, -0x1.19defcp-2f, -0x1.4624bep-2f,
    -0x1.437fcp-3f, -0x1.30b82p-2f, 0x1.1aee02p-3f, 0x1.349616p-2f, 0x1.d97d9cp-3f, 0x1.6c8d8p-4f, -0x1.1e4e0cp-3f,
    -0x1.7dc0cp-3f, -0x1.524ce8p-8f, -0x1.7f2cdcp-3f, -0x1.81d62ap-3f, -0x1.db6278p-4f, -0x1.3525p-3f, -0x1.cc6762p-4f,
    0x1.57ae24p-3f, 0x1.c177ecp-5f, -0x1.2fc792p-2f, 0x1.27d58cp-2f, -0x1.643f28p-2f, -0x1.0c5a26p-2f, -0x1.6e68ecp-4f,
    -0x1.2e9e66p-6f, 0x1.403e2ep-6f, 0x1.a409c6p-4f, -0x1.dc9c2p-5f, 0x1.edffdap-4f, 0x1.f9b96ep-4f, -0x1.319924p-4f,
    0x1.67facep-4f, 0x1.30181ap-2f, 0x1.dbc17ap-2f, -0x1.9cd9c2p-6f, -0x1.cd0276p-4f, 0x1.dde55ap-1f, 0x1.6c8024p-4f,
    0x1.6f95f4p-3f, -0x1.8c0f18p-4f, 0x1.a45492p-6f, -0x1.cdc9b6p-4f, 0x1.9cfd7ap-4f, -0x1.39cd92p-6f, 0x1.cb93c6p-5f,
    -0x1.89f53ap-2f, -0x1.cdfdcap-5f, 0x1.9b170cp-4f, -0x1.a677f6p-5f, -0x1.2fb188p-2f, -0x1.7b4fdap-3f,
    0x1.9964d8p-3f, -0x1.191bdp-1f, -0x1.b6c2bp-5f, 0x1.7d2ea2p-4f, -0x1.0a86e6p-2f, -0x1.fcd6f2p-4f, -0x1.f1cdc2p-4f,
    0x1.f8ae0ap-4f, 0x1.1d658ep-4f, -0x1.d82b4ap-4f, 0x1.7e8b6cp-2f, -0x1.7b9c8cp-3f, -0x1.3fe6bap-4f, 0x1.5470cp-2f,
    -0x1.602d3ep-3f, 0x1.c7ceeap-5f, 0x1.c9a7aep-5f, -0x1.b2fc8ep-4f, -0x1.bad184p-3f, -0x1.6375e6p-4f, -0x1.703f7p-4f,
    0x1.15a5ecp-4f, 0x1.ce1d8p-2f, -0x1.790d56p-3f, -0x1.2b9806p-4f, -0x1.6d62e2p-5f, 0x1.4d8842p-3f, 0x1.29ba2p-3f,
    -0x1.2e7b7p-6f, 0x1.c50ebap-6f, 0x1.6060f6p-3f, -0x1.6f68dep-6f, -0x1.220fb4p-5f, -0x1.8f3d3cp-3f, -0x1.089662p-6f,
    0x1.41668ep-4f, -0x1.59899ep-5f, 0x1.a4486ap-3f, 0x1.69ecc2p-4f, 0x1.d2a81p-3f, 0x1.56ea22p-2f, 0x1.e61d1ap-3f,
    0x1.61dc0cp-4f, -0x1.644378p-2f, -0x1.be2494p-4f, 0x1.719764p-6f, -0x1.f1c304p-3f, -0x1.e5495ep-8f, 0x1.5f335cp-2f,
    -0x1.e06b2cp-2f, -0x1.107ad6p-2f, -0x1.5fa758p-3f, -0x1.a3eb74p-3f, -0x1.01393ap-5f, 0x1.724268p-6f,
    -0x1.66c6a6p-4f, 0x1.febed6p-6f, -0x1.b57424p-4f,
};
alignas(64) inline constexpr float layer_lstm_bias[80] = {
    0x1.bc84dap-4f, 0x1.f937b6p-6f, 0x1.65f75p-4f, 0x1.4848e6p-5f, 0x1.2b61acp-2f, 0x1.d5ccfep-4f, -0x1.edf288p-4f,
    0x1.3d5b02p-1f, -0x1.ab9188p-5f, 0x1.04870ep-3f, 0x1.16a18p-6f, 0x1.33ec64p-5f, 0x1.9d966ap-3f, 0x1.43897ap-5f,
    0x1.825f5p-5f, -0x1.a0487ap-4f, 0x1.7ef042p-1f, 0x1.f0362ap-1f, 0x1.06db52p0f, 0x1.8a78a4p-1f, 0x1.dd51ccp-1f,
    0x1.7afc0ap-1f, 0x1.bda2e6p-1f, 0x1.664e14p-1f, 0x1.0bd1dep0f, 0x1.125946p0f, 0x1.213bd8p0f, 0x1.065b2ep0f,
    0x1.74b916p-1f, 0x1.11e3a2p0f, 0x1.017806p0f, 0x1.0bd8bcp0f, -0x1.2310d2p-6f, -0x1.10895cp-9f, 0x1.68ef94p-7f,
    0x1.d1d636p-7f, -0x1.51560ap-6f, 0x1.15f65cp-4f, -0x1.fae1eap-7f, 0x1.5fd1c8p-4f, 0x1.0bc69p-6f, -0x1.0fbbb8p-7f,
    0x1.f4a39p-6f, 0x1.294732p-6f, 0x1.bfaa94p-6f, 0x1.06ee34p-7f, 0x1.521274p-4f, -0x1.8710acp-6f, 0x1.ff8b44p-8f,
    -0x1.5ab524p-7f, 0x1.5af838p-4f, 0x1.29a22ap-5f, 0x1.05b61p-3f, 0x1.9fa474p-4f, -0x1.edf3ap-4f, 0x1.dd6de2p-1f,
    0x1.2804bap-7f, 0x1.ac285p-4f, 0x1.98bfccp-7f, 0x1.36ce06p-5f, 0x1.660c4cp-3f, 0x1.03f9c6p-4f, 0x1.6f3dfap-5f,
    -0x1.35e228p-4f,
};
alignas(64) inline constexpr float layer_dense_bias[17] = {
    -0x1.9e7ce6p-8f,
};
alignas(64) inline constexpr float layer_dense_kernel[32] = {
    -0x1.3b309p-2f, -0x1.030678p-1f, -0x1.6065eep-3f, -0x1.043deep-3f, 0x1.ae1444p-1f, -0x1.902d3p-5f, -0x1.f80edep-3f,
    0x1.ad52f8p-2f, -0x1.64fe9cp-3f, -0x1.8b1202p-3f, -0x1.9bb29cp-4f, -0x1.4ee11ep-4f, -0x1.e7f626p-2f,
    -0x1.35684cp-4f, -0x1.505ba4p-2f, 0x1.85ceccp-2f,
};
}  // namespace weights

#undef REKUR_ABS
#undef REKUR_ARM_SMLAD
#undef REKUR_ARM_SXTB16
#undef REKUR_BIT_CAST
#undef REKUR_CONVERT_VECTOR
#undef REKUR_COPY
#undef REKUR_COS
#undef REKUR_EXP
#undef REKUR_EXPECT
#undef REKUR_FLOAT_MAX
#undef REKUR_FLOAT_MIN
#undef REKUR_FUSES
#undef REKUR_INFINITY
#undef REKUR_INLINE
#undef REKUR_INLINED
#undef REKUR_LOG
#undef REKUR_LOGF
#undef REKUR_NAN
#undef REKUR_NOINLINE
#undef REKUR_PREFETCH
#undef REKUR_SHUFFLE
#undef REKUR_SIN
#undef REKUR_SQRT
#undef REKUR_UNROLL
#undef REKUR_UNROLL_FOUR
#undef REKUR_VECTOR
#undef REKUR_VECTOR_AT
#undef REKUR_VECTOR_CASTS_BEGIN
#undef REKUR_VECTOR_CASTS_END
#undef REKUR_STATIC_ISA
#undef REKUR_STATIC_BYTES
#undef REKUR_STATIC_DOT
#undef REKUR_STATIC_NEAR
#undef REKUR_VEC_BYTES
#undef REKUR_SIMD_NAMESPACE
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__FMA__) && \
    defined(__AVX512VNNI__)
#if defined(__AVXVNNI__)
#define REKUR_STATIC_ISA static_avx512_avxvnni
#define REKUR_STATIC_NEAR (44 * 1024)
#else
#define REKUR_STATIC_ISA static_avx512_vnni
#endif
#define REKUR_STATIC_BYTES 64
#define REKUR_STATIC_DOT 1
#elif defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx512
#define REKUR_STATIC_BYTES 64
#elif defined(__AVX512F__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx512f
#define REKUR_STATIC_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__) && defined(__AVXVNNI__)
#define REKUR_STATIC_ISA static_avx2_vnni
#define REKUR_STATIC_BYTES 32
#define REKUR_STATIC_DOT 1
#elif defined(__AVX2__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx2_fma
#define REKUR_STATIC_BYTES 32
#elif defined(__AVX2__)
#define REKUR_STATIC_ISA static_avx2
#define REKUR_STATIC_BYTES 32
#elif defined(__AVX__) && defined(__FMA__)
#define REKUR_STATIC_ISA static_avx_fma
#define REKUR_STATIC_BYTES 16
#elif defined(__AVX__)
#define REKUR_STATIC_ISA static_avx
#define REKUR_STATIC_BYTES 16
#elif defined(__SSE4_1__)
#define REKUR_STATIC_ISA static_sse4
#define REKUR_STATIC_BYTES 16
#elif defined(__SSE2__)
#define REKUR_STATIC_ISA static_sse2
#define REKUR_STATIC_BYTES 16
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define REKUR_STATIC_ISA static_neon_dot
#define REKUR_STATIC_BYTES 16
#define REKUR_STATIC_DOT 1
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
#define REKUR_STATIC_ISA static_neon_fma
#define REKUR_STATIC_BYTES 16
#elif defined(__ARM_NEON)
#define REKUR_STATIC_ISA static_neon
#define REKUR_STATIC_BYTES 16
#elif defined(__riscv_vector) && defined(__clang__)
#define REKUR_STATIC_ISA static_rvv
#define REKUR_STATIC_BYTES 16
#elif defined(__ARM_FEATURE_SIMD32)
#define REKUR_STATIC_ISA static_simd32
#define REKUR_STATIC_BYTES 16
#define REKUR_STATIC_DOT 1
#else
#define REKUR_STATIC_ISA static_generic
#define REKUR_STATIC_BYTES 16
#endif
#ifndef REKUR_STATIC_NEAR
#define REKUR_STATIC_NEAR (32 * 1024)
#endif
#ifndef REKUR_STATIC_DOT
#define REKUR_STATIC_DOT 0
#endif
inline namespace REKUR_STATIC_ISA {

// Of rekur 0.1.0, its comments left out: vectors, their functions, layers of fixed sizes.
namespace rekur {
enum class ActivationKind : uint8_t {
  linear,
  tanh,
  sigmoid,
  relu,
  leaky_relu,
  elu,
  softsign,
  hard_sigmoid,
  affine,
  thresholded_relu,
  scaled_tanh,
  softplus,
};
struct Activation {
  ActivationKind kind = ActivationKind::linear;
  float alpha = 0.0f;
  float beta = 0.0f;
};
}
#if defined(__GNUC__) || defined(__clang__)
#define REKUR_NOINLINE __attribute__((noinline))
#define REKUR_INLINED __attribute__((always_inline))
#define REKUR_INLINE inline REKUR_INLINED
#define REKUR_VECTOR(bytes) __attribute__((vector_size(bytes)))
#define REKUR_VECTOR_AT(bytes, alignment) __attribute__((vector_size(bytes), aligned(alignment), may_alias))
#define REKUR_SHUFFLE(...) __builtin_shufflevector(__VA_ARGS__)
#define REKUR_CONVERT_VECTOR(vector, type) __builtin_convertvector(vector, type)
#define REKUR_COPY(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define REKUR_PREFETCH(...) __builtin_prefetch(__VA_ARGS__)
#define REKUR_EXPECT(condition, value) __builtin_expect(condition, value)
#define REKUR_INFINITY __builtin_inff()
#define REKUR_NAN __builtin_nanf("")
#define REKUR_ABS(x) __builtin_fabsf(x)
#define REKUR_SQRT(x) __builtin_sqrtf(x)
#define REKUR_COS(x) __builtin_cos(x)
#define REKUR_SIN(x) __builtin_sin(x)
#define REKUR_EXP(x) __builtin_exp(x)
#define REKUR_LOG(x) __builtin_log(x)
#define REKUR_LOGF(x) __builtin_logf(x)
#if defined(__ARM_FEATURE_DSP)
#define REKUR_ARM_SMLAD(a, b, sum) __builtin_arm_smlad(a, b, sum)
#define REKUR_ARM_SXTB16(x) __builtin_arm_sxtb16(x)
#endif
#if defined(__riscv_vector) && defined(__clang__)
#define REKUR_FUSES _Pragma("clang fp contract(on)")
#endif
#define REKUR_VECTOR_CASTS_BEGIN _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wold-style-cast\"")
#define REKUR_VECTOR_CASTS_END _Pragma("GCC diagnostic pop")
#else
#define REKUR_NOINLINE
#define REKUR_INLINED
#define REKUR_INLINE inline
#define REKUR_COPY(to, from, bytes) memcpy(to, from, bytes)
#define REKUR_PREFETCH(...) (static_cast<void>(0))
#define REKUR_EXPECT(condition, value) (condition)
#define REKUR_INFINITY INFINITY
#define REKUR_NAN NAN
#define REKUR_ABS(x) fabsf(x)
#define REKUR_SQRT(x) sqrtf(x)
#define REKUR_COS(x) cos(x)
#define REKUR_SIN(x) sin(x)
#define REKUR_EXP(x) exp(x)
#define REKUR_LOG(x) log(x)
#define REKUR_LOGF(x) logf(x)
#endif
#define REKUR_FLOAT_MAX 3.40282347e+38f
#define REKUR_FLOAT_MIN 1.17549435e-38f
#define REKUR_BIT_CAST(type, x) __builtin_bit_cast(type, x)
#if defined(__clang__)
#define REKUR_UNROLL _Pragma("clang loop unroll(full)")
#define REKUR_UNROLL_FOUR _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define REKUR_UNROLL _Pragma("GCC unroll 32")
#define REKUR_UNROLL_FOUR _Pragma("GCC unroll 4")
#else
#define REKUR_UNROLL
#define REKUR_UNROLL_FOUR
#endif
#if defined(_M_X64) || defined(_M_ARM64)
#endif
namespace rekur::detail {
#if defined(__SSE2__)
using FloatMode = uint32_t;
inline constexpr FloatMode kFlushBits = 0x8040;
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("stmxcsr %0" : "=m"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("ldmxcsr %0" : : "m"(mode) : "memory"); }
#elif defined(__aarch64__)
using FloatMode = uint64_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP)
using FloatMode = uint32_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;
inline FloatMode float_mode() noexcept {
  FloatMode mode;
  asm volatile("vmrs %0, fpscr" : "=r"(mode) : : "memory");
  return mode;
}
inline void set_float_mode(FloatMode mode) noexcept { asm volatile("vmsr fpscr, %0" : : "r"(mode) : "memory"); }
#elif defined(_M_X64)
using FloatMode = uint32_t;
inline constexpr FloatMode kFlushBits = 0x8040;
inline FloatMode float_mode() noexcept { return _mm_getcsr(); }
inline void set_float_mode(FloatMode mode) noexcept { _mm_setcsr(mode); }
#elif defined(_M_ARM64)
using FloatMode = uint64_t;
inline constexpr FloatMode kFlushBits = FloatMode{1} << 24;
inline FloatMode float_mode() noexcept { return static_cast<FloatMode>(_ReadStatusReg(ARM64_FPCR)); }
inline void set_float_mode(FloatMode mode) noexcept { _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(mode)); }
#else
using FloatMode = uint32_t;
inline constexpr FloatMode kFlushBits = 0;
inline FloatMode float_mode() noexcept { return 0; }
inline void set_float_mode(FloatMode) noexcept {}
#endif
}
namespace rekur::runtime {
class FlushDenormalsBriefly {
 public:
  FlushDenormalsBriefly() noexcept : saved_(detail::float_mode()), own_((saved_ & detail::kFlushBits) != detail::kFlushBits) {
    if (own_) detail::set_float_mode(saved_ | detail::kFlushBits);
  }
  ~FlushDenormalsBriefly() {
    if (own_) detail::set_float_mode(saved_);
  }
  FlushDenormalsBriefly(const FlushDenormalsBriefly&) = delete;
  FlushDenormalsBriefly& operator=(const FlushDenormalsBriefly&) = delete;
 private:
  detail::FloatMode saved_;
  bool own_;
};
}
#define REKUR_VEC_BYTES REKUR_STATIC_BYTES
#define REKUR_SIMD_NAMESPACE steps
#if !defined(REKUR_VEC_BYTES) || !defined(REKUR_SIMD_NAMESPACE)
#error "vec.hpp: include rekur/static.hpp, or inside the engine simd/vec.hpp in an ISA unit"
#endif
#if (REKUR_VEC_BYTES == 64 && !defined(__AVX512F__)) || (REKUR_VEC_BYTES == 32 && !defined(__AVX2__))
#error "vec.hpp: vectors wider than the instruction set's"
#endif
#if defined(__SSE2__)
#elif defined(__ARM_NEON)
#endif
#if !defined(REKUR_VECTOR)
#error "rekur: the engine and static.hpp compute with vectors that g++, clang and clang-cl have"
#endif
namespace rekur {
using Index = int64_t;
namespace REKUR_SIMD_NAMESPACE {
inline constexpr int kWidth = REKUR_VEC_BYTES / 4;
inline constexpr Index kLine = 16;
#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv_vector)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif
typedef float Vec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef int32_t IVec REKUR_VECTOR(REKUR_VEC_BYTES);
typedef uint32_t UVec REKUR_VECTOR(REKUR_VEC_BYTES);
REKUR_INLINE Vec load(const float* p) {
  Vec v;
  REKUR_COPY(&v, p, sizeof v);
  return v;
}
REKUR_INLINE void store(float* p, Vec v) { REKUR_COPY(p, &v, sizeof v); }
REKUR_INLINE Vec set1(float s) { return s - Vec{}; }
REKUR_INLINE Vec zero() { return Vec{}; }
REKUR_INLINE IVec set1i(int32_t s) { return s - IVec{}; }
#if REKUR_VEC_BYTES == 64 || defined(__FMA__) || (defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)) || defined(REKUR_FUSES)
inline constexpr bool kFused = true;
#else
inline constexpr bool kFused = false;
#endif
REKUR_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif REKUR_VEC_BYTES == 32 && defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FMA__)
  return (Vec)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__ARM_NEON)
  return (Vec)vmlaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(REKUR_FUSES)
  REKUR_FUSES
  return a * b + c;
#else
  return a * b + c;
#endif
}
REKUR_INLINE IVec as_int(Vec v) { return (IVec)v; }
REKUR_INLINE Vec as_float(IVec v) { return (Vec)v; }
REKUR_INLINE Vec select(IVec mask, Vec a, Vec b) { return mask ? a : b; }
REKUR_INLINE Vec at_most(Vec v, Vec bound) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_min_ps((__mmask16)-1, (__m512)bound, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_min_ps((__m256)bound, (__m256)v);
#elif defined(__SSE2__)
  return (Vec)_mm_min_ps((__m128)bound, (__m128)v);
#else
  return select(v > bound, bound, v);
#endif
}
REKUR_INLINE Vec at_least(Vec v, Vec bound) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_max_ps((__mmask16)-1, (__m512)bound, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_max_ps((__m256)bound, (__m256)v);
#elif defined(__SSE2__)
  return (Vec)_mm_max_ps((__m128)bound, (__m128)v);
#else
  return select(v < bound, bound, v);
#endif
}
inline constexpr int32_t kSignBit = (int32_t)0x80000000;
REKUR_INLINE Vec abs(Vec v) { return (Vec)((IVec)v & ~kSignBit); }
REKUR_INLINE Vec negative_abs(Vec v) { return (Vec)((IVec)v | kSignBit); }
REKUR_INLINE Vec copysign(Vec magnitude, Vec sign) { return (Vec)(((IVec)magnitude & ~kSignBit) | ((IVec)sign & kSignBit)); }
REKUR_INLINE Vec flip(Vec v, IVec sign_bits) { return (Vec)((IVec)v ^ sign_bits); }
REKUR_INLINE Vec sqrt(Vec v) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)v);
#elif REKUR_VEC_BYTES == 32
  return (Vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__aarch64__)
  return (Vec)vsqrtq_f32((float32x4_t)v);
#elif defined(__SSE2__)
  return (Vec)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < kWidth; ++i) v[i] = REKUR_SQRT(v[i]);
  return v;
#endif
}
#if REKUR_VEC_BYTES == 32 && defined(__AVX2__)
REKUR_INLINE __m256i lanes_below(Index n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif
REKUR_INLINE Vec load_partial(const float* p, Index n) {
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif REKUR_VEC_BYTES == 32 && defined(__AVX2__)
  if (n == kWidth) return load(p);
  return (Vec)_mm256_maskload_ps(p, lanes_below(n));
#else
  if (n == kWidth) return load(p);
  Vec v{};
  for (Index i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
REKUR_INLINE void store_partial(float* p, Vec v, Index n) {
#if REKUR_VEC_BYTES == 64
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif REKUR_VEC_BYTES == 32 && defined(__AVX2__)
  if (n == kWidth) return store(p, v);
  _mm256_maskstore_ps(p, lanes_below(n), (__m256)v);
#else
  if (n == kWidth) return store(p, v);
  for (Index i = 0; i < n; ++i) p[i] = v[i];
#endif
}
REKUR_INLINE Vec first_lanes(Vec v, Index n) {
  if (n == kWidth) return v;
  IVec index;
  for (int i = 0; i < kWidth; ++i) index[i] = i;
  return select(index < static_cast<int32_t>(n), v, zero());
}
REKUR_INLINE Index lanes(Index i, Index n) { return n - i < kWidth ? n - i : kWidth; }
constexpr Index first_sum(Index K) { return K >= 4 && K <= 16 ? (K + 2) / 4 * 2 : K; }
inline constexpr int kSixteen = 16 / kWidth;
REKUR_INLINE float fold_sixteen(const Vec (&s)[kSixteen]) {
  typedef float Four REKUR_VECTOR(16);
#if REKUR_VEC_BYTES == 64
  typedef float Eight REKUR_VECTOR(32);
  const Eight eight = REKUR_SHUFFLE(s[0], s[0], 0, 1, 2, 3, 4, 5, 6, 7) + REKUR_SHUFFLE(s[0], s[0], 8, 9, 10, 11, 12, 13, 14, 15);
#elif REKUR_VEC_BYTES == 32
  const Vec eight = s[0] + s[1];
#endif
#if REKUR_VEC_BYTES >= 32
  const Four four = REKUR_SHUFFLE(eight, eight, 0, 1, 2, 3) + REKUR_SHUFFLE(eight, eight, 4, 5, 6, 7);
#else
  const Four four = (s[0] + s[2]) + (s[1] + s[3]);
#endif
  const Four two = four + REKUR_SHUFFLE(four, four, 2, 3, 0, 1);
  return two[0] + two[1];
}
struct RowSum {
  Vec s[kSixteen] = {};
  REKUR_INLINE float total() const { return fold_sixteen(s); }
};
template <class F>
REKUR_INLINE void by_sixteens(Index N, const F& f) {
  Index i = 0;
  for (; i + 16 <= N; i += 16) {
    REKUR_UNROLL
    for (int j = 0; j < kSixteen; ++j) f(i + j * kWidth, Index{kWidth}, j);
  }
  REKUR_UNROLL
  for (int j = 0; j < kSixteen; ++j)
    if (i + j * kWidth < N) f(i + j * kWidth, lanes(i + j * kWidth, N), j);
}
REKUR_INLINE float dot_by_sixteens(Index K, const float* a, const float* w, const float* bias) {
  Vec s[kSixteen] = {load_partial(bias, bias ? 1 : 0)};
  Index k = 0;
  for (; k + 16 <= K; k += 16) {
    REKUR_UNROLL
    for (int i = 0; i < kSixteen; ++i) s[i] = fma(load(a + k + i * kWidth), load(w + k + i * kWidth), s[i]);
  }
  if (k < K) {
    REKUR_UNROLL
    for (int i = 0; i < kSixteen; ++i) {
      const Index rest = K - k - i * kWidth, n = rest < 0 ? 0 : rest < kWidth ? rest : kWidth;
      s[i] = fma(n > 0 ? load_partial(a + k + i * kWidth, n) : zero(), load(w + k + i * kWidth), s[i]);
    }
  }
  return fold_sixteen(s);
}
}
}
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {
struct Reduced {
  Vec n;
  IVec n_bits;
  Vec r;
};
inline constexpr float kRound = 12582912.0f;
inline constexpr int32_t kRoundBits = 0x4b400000;
REKUR_INLINE Reduced reduce(Vec x, Vec y, float times) {
  const Vec shifted = fma(y, set1(times * 1.44269504088896341f), set1(kRound));
  const Vec n = shifted - set1(kRound);
  return {n, as_int(shifted), fma(n, set1(-0.693359375f), x) + fma(n, set1(2.12194440e-4f), zero())};
}
REKUR_INLINE Reduced reduce_soon(Vec x, Vec y, float times) {
  if constexpr (!kFused) return reduce(x, y, times);
  const Vec shifted = fma(y, set1(times * 1.44269504088896341f), set1(kRound));
  const Vec n = shifted - set1(kRound);
  return {n, as_int(shifted), fma(n, set1(-0x1.62e43p-1f), x)};
}
inline constexpr float kRest = 0x1.05c61p-29f;
REKUR_INLINE Vec expm1_reduced(Vec r, Vec first) {
  const Vec r2 = r * r;
  const Vec low = fma(set1(0x1.55548ep-3f), r, set1(0.5f)), high = fma(set1(0x1.123c78p-7f), r, set1(0x1.55545cp-5f));
  return fma(fma(set1(0x1.6db5bcp-10f), r2, high), r2 * r2, fma(low, r2, first));
}
REKUR_INLINE Vec expm1_reduced(Vec r) { return expm1_reduced(r, r); }
REKUR_INLINE Vec power_of_two(IVec n_bits) {
  const UVec biased = (UVec)n_bits - (uint32_t)(kRoundBits - 127);
  return (Vec)(biased << 23);
}
REKUR_INLINE Vec inverse_power_of_two(IVec n_bits) {
  const UVec biased = (uint32_t)(kRoundBits + 127) - (UVec)n_bits;
  return (Vec)(biased << 23);
}
REKUR_INLINE Vec exp_below(Vec x) {
  x = at_least(x, set1(-104.0f));
  const Reduced s = reduce(x, x, 1.0f);
  const Vec y = set1(1.0f) + expm1_reduced(s.r);
#if REKUR_VEC_BYTES == 64
  return (Vec)_mm512_maskz_scalef_ps((__mmask16)-1, (__m512)y, (__m512)s.n);
#else
  const IVec n = (IVec)((UVec)s.n_bits - (uint32_t)kRoundBits);
  const IVec half = n >> 1;
  const Vec first = (Vec)(((UVec)half + 127u) << 23);
  const Vec second = (Vec)(((UVec)n - (UVec)half + 127u) << 23);
  return y * first * second;
#endif
}
REKUR_INLINE Vec exp(Vec x) { return exp_below(at_most(x, set1(89.0f))); }
REKUR_INLINE Vec expm1_nonpositive(Vec x) {
  x = at_least(x, set1(-20.0f));
  const Reduced s = reduce(x, x, 1.0f);
  const Vec scale = power_of_two(s.n_bits);
  return fma(scale, expm1_reduced(s.r), scale - set1(1.0f));
}
REKUR_INLINE Vec tanh(Vec x) {
  const Vec y = negative_abs(x), sign = copysign(set1(1.0f), x);
  const Reduced s = reduce_soon(y + y, y, 2.0f);
  const Vec t = inverse_power_of_two(s.n_bits), p = expm1_reduced(s.r);
  const Vec inside = ((t - set1(1.0f)) - p) / fma(p, sign, fma(t, sign, sign));
  return select(y < set1(-10.0f), sign, inside);
}
REKUR_INLINE Vec sigmoid_within(Vec x) {
  const Reduced s = reduce_soon(-x, x, -1.0f);
  const Vec t = inverse_power_of_two(s.n_bits), one = set1(1.0f);
  if constexpr (kFused) {
    const Vec rest = set1(kRest), p = expm1_reduced(s.r, fma(s.n, rest, s.r));
    return t / fma(p, fma(s.n, rest, one), one + t);
  } else {
    return t / ((one + t) + expm1_reduced(s.r));
  }
}
REKUR_INLINE Vec sigmoid(Vec x) {
  const Vec limit = as_float((as_int(x) >= 0) & as_int(set1(1.0f)));
  return select(abs(x) > set1(88.0f), limit, sigmoid_within(x));
}
REKUR_INLINE Vec log1p_of_unit(Vec u) {
  const Vec s = u / (set1(2.0f) + u);
  const Vec z = s * s;
  Vec q = set1(0x1.1ed7bep-2f);
  q = fma(q, z, set1(0x1.1ebd0ep-2f));
  q = fma(q, z, set1(0x1.99d208p-2f));
  q = fma(q, z, set1(0x1.555502p-1f));
  return fma(s * z, q, s + s);
}
REKUR_INLINE Vec softplus(Vec x) { return at_least(x, zero()) + log1p_of_unit(exp(-abs(x))); }
}
}
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {
template <ActivationKind K>
REKUR_INLINE Vec activation(Activation f, Vec x) {
  const Vec one = set1(1.0f);
  if constexpr (K == ActivationKind::tanh) {
    return tanh(x);
  } else if constexpr (K == ActivationKind::sigmoid) {
    return sigmoid(x);
  } else if constexpr (K == ActivationKind::relu) {
    return at_least(x, zero());
  } else if constexpr (K == ActivationKind::leaky_relu) {
    return select(x > zero(), x, set1(f.alpha) * x);
  } else if constexpr (K == ActivationKind::elu) {
    return select(x > zero(), x, set1(f.alpha) * expm1_nonpositive(at_most(x, zero())));
  } else if constexpr (K == ActivationKind::softsign) {
    const Vec a = at_most(abs(x), set1(REKUR_FLOAT_MAX));
    return copysign(a / (one + a), x);
  } else if constexpr (K == ActivationKind::hard_sigmoid) {
    return at_most(at_least(fma(x, set1(f.alpha), set1(f.beta)), zero()), one);
  } else if constexpr (K == ActivationKind::affine) {
    return fma(x, set1(f.alpha), set1(f.beta));
  } else if constexpr (K == ActivationKind::thresholded_relu) {
    return select(x <= set1(f.alpha), zero(), x);
  } else if constexpr (K == ActivationKind::scaled_tanh) {
    return set1(f.alpha) * tanh(set1(f.beta) * x);
  } else if constexpr (K == ActivationKind::softplus) {
    return softplus(x);
  } else {
    return x;
  }
}
template <ActivationKind K>
REKUR_INLINE Vec activation_slope(Activation f, Vec y) {
  const Vec one = set1(1.0f);
  if constexpr (K == ActivationKind::tanh) {
    return fma(-y, y, one);
  } else if constexpr (K == ActivationKind::sigmoid) {
    return y * (one - y);
  } else if constexpr (K == ActivationKind::relu) {
    return select(y > zero(), one, zero());
  } else if constexpr (K == ActivationKind::leaky_relu) {
    return select(y > zero(), one, set1(f.alpha));
  } else if constexpr (K == ActivationKind::elu) {
    return select(y > zero(), one, y + set1(f.alpha));
  } else if constexpr (K == ActivationKind::softsign) {
    const Vec d = one - abs(y);
    return d * d;
  } else if constexpr (K == ActivationKind::hard_sigmoid) {
    return select((y > zero()) & (y < one), set1(f.alpha), zero());
  } else if constexpr (K == ActivationKind::affine) {
    return set1(f.alpha);
  } else if constexpr (K == ActivationKind::thresholded_relu) {
    return select(y == zero(), zero(), one);
  } else if constexpr (K == ActivationKind::scaled_tanh) {
    const Vec alpha = set1(f.alpha), t = y / alpha;
    return select(alpha == zero(), zero(), set1(f.beta) * (alpha * fma(-t, t, one)));
  } else if constexpr (K == ActivationKind::softplus) {
    return -expm1_nonpositive(-y);
  } else {
    return one;
  }
}
template <ActivationKind K>
struct KindConstant {
  static constexpr ActivationKind kind = K;
};
template <class Body>
REKUR_INLINE auto with_kind(ActivationKind kind, const Body& body) {
  switch (kind) {
    case ActivationKind::tanh:
      return body(KindConstant<ActivationKind::tanh>{});
    case ActivationKind::sigmoid:
      return body(KindConstant<ActivationKind::sigmoid>{});
    case ActivationKind::relu:
      return body(KindConstant<ActivationKind::relu>{});
    case ActivationKind::leaky_relu:
      return body(KindConstant<ActivationKind::leaky_relu>{});
    case ActivationKind::elu:
      return body(KindConstant<ActivationKind::elu>{});
    case ActivationKind::softsign:
      return body(KindConstant<ActivationKind::softsign>{});
    case ActivationKind::hard_sigmoid:
      return body(KindConstant<ActivationKind::hard_sigmoid>{});
    case ActivationKind::affine:
      return body(KindConstant<ActivationKind::affine>{});
    case ActivationKind::thresholded_relu:
      return body(KindConstant<ActivationKind::thresholded_relu>{});
    case ActivationKind::scaled_tanh:
      return body(KindConstant<ActivationKind::scaled_tanh>{});
    case ActivationKind::softplus:
      return body(KindConstant<ActivationKind::softplus>{});
    case ActivationKind::linear:
      break;
  }
  return body(KindConstant<ActivationKind::linear>{});
}
using VectorFunction = Vec (*)(Vec v, float alpha, float beta);
template <ActivationKind K>
REKUR_NOINLINE Vec activation_function(Vec x, float alpha, float beta) {
  return activation<K>({K, alpha, beta}, x);
}
template <ActivationKind K>
REKUR_NOINLINE Vec slope_function(Vec y, float alpha, float beta) {
  return activation_slope<K>({K, alpha, beta}, y);
}
REKUR_NOINLINE inline VectorFunction function_of(ActivationKind kind) {
  return with_kind(kind, [](auto k) -> VectorFunction { return activation_function<k.kind>; });
}
REKUR_NOINLINE inline VectorFunction slope_of(ActivationKind kind) {
  return with_kind(kind, [](auto k) -> VectorFunction { return slope_function<k.kind>; });
}
}
}
namespace rekur {
namespace REKUR_SIMD_NAMESPACE {
constexpr int lines(int n) { return (n + 15) / 16 * 16; }
constexpr int vectors(int n) { return (n + kWidth - 1) / kWidth; }
template <int N>
REKUR_INLINE Vec within(Vec v, int i, float neutral) {
  if (i + kWidth <= N) return v;
  IVec index;
  for (int lane = 0; lane < kWidth; ++lane) index[lane] = lane;
  return select(index < N - i, v, set1(neutral));
}
template <int N>
REKUR_INLINE void copy(const float* from, float* to) {
  for (int i = 0; i < N; ++i) to[i] = from[i];
}
template <int Rows, int N, int From, int To>
REKUR_INLINE void copy_rows(const float* from, float* to) {
  for (int r = 0; r < Rows; ++r) copy<N>(from + r * From, to + r * To);
}
template <int N>
REKUR_INLINE void fill(float value, float* to) {
  for (int i = 0; i < N; i += kWidth) store(to + i, set1(value));
}
template <int N, class F>
REKUR_INLINE void map(const float* x, float* y, const F& f) {
  for (int i = 0; i < N; i += kWidth) store(y + i, f(load(x + i)));
}
template <int N, class F>
REKUR_INLINE void map(const float* a, const float* b, float* y, const F& f) {
  for (int i = 0; i < N; i += kWidth) store(y + i, f(load(a + i), load(b + i)));
}
template <int N, int... Column>
struct Columns {
  static constexpr int kBlocks = sizeof...(Column), kOfBlock = vectors(N), kCount = kBlocks * kOfBlock;
  static constexpr int kFirst[kBlocks] = {Column...};
  static constexpr int from(int v) { return kFirst[v / kOfBlock] + v % kOfBlock * kWidth; }
  static constexpr int to(int v) { return v / kOfBlock * lines(N) + v % kOfBlock * kWidth; }
};
inline constexpr int kSums = kRegisters == 32 ? 24 : 12;
template <class C, int First, int NV, int K, int Row, class W>
REKUR_INLINE void product_pass(const float* a, const W* w, const float* bias, float* to) {
  Vec sum[NV];
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) sum[v] = bias ? load(bias + C::from(First + v)) : zero();
  REKUR_UNROLL_FOUR
  for (int k = 0; k < K; ++k) {
    const Vec x = set1(a[k]);
    REKUR_UNROLL
    for (int v = 0; v < NV; ++v) sum[v] = fma(x, load(w + k * Row + C::from(First + v)), sum[v]);
  }
  REKUR_UNROLL
  for (int v = 0; v < NV; ++v) store(to + C::to(First + v), sum[v]);
}
template <class C, int First, int K, int Row, class W>
REKUR_INLINE void product_passes(const float* a, const W* w, const float* bias, float* to) {
  constexpr int left = C::kCount - First, passes = (left + kSums - 1) / kSums, now = (left + passes - 1) / passes;
  product_pass<C, First, now, K, Row>(a, w, bias, to);
  if constexpr (left > now) product_passes<C, First + now, K, Row>(a, w, bias, to);
}
template <int K, int Row, int N, int... Column, class W>
REKUR_INLINE void product(const float* a, const W* w, const float* bias, float* to) {
  product_passes<Columns<N, Column...>, 0, K, Row>(a, w, bias, to);
}
template <int K, int N>
REKUR_INLINE void dots(const float* a, const float* w, const float* bias, float* to) {
  Vec sums = zero();
  REKUR_UNROLL
  for (int n = 0; n < N; ++n) sums[n] = dot_by_sixteens(K, a, w + n * lines(K), bias ? bias + n : nullptr);
  store(to, sums);
}
template <int H, int Blocks>
struct PanelGroups {
  static constexpr int most = kSums / Blocks > 1 ? kSums / Blocks : 1, passes = (vectors(H) + most - 1) / most;
  static constexpr int count = (vectors(H) + passes - 1) / passes, full = vectors(H) / count, rest = vectors(H) % count;
  static constexpr bool one = passes == 1;
};
template <int N>
struct Panels {
  static constexpr int count = N;
};
template <class Groups, class F>
REKUR_INLINE void each_group(const F& f) {
  for (int i = 0; i < Groups::full; ++i) f(Panels<Groups::count>{}, i * Groups::count * kWidth);
  if constexpr (Groups::rest > 0) f(Panels<Groups::rest>{}, Groups::full * Groups::count * kWidth);
}
template <int K, int Row, int... Column, int N, class W>
REKUR_INLINE void panel_sums(Panels<N>, const float* a, const W* w, const float* bias, int i, Vec* sum) {
  constexpr int blocks = sizeof...(Column), first[blocks] = {Column...};
  REKUR_UNROLL
  for (int b = 0; b < blocks; ++b) {
    REKUR_UNROLL
    for (int p = 0; p < N; ++p) sum[b * N + p] = bias ? load(bias + first[b] + i + p * kWidth) : zero();
  }
  REKUR_UNROLL_FOUR
  for (int k = 0; k < K; ++k) {
    const Vec x = set1(a[k]);
    REKUR_UNROLL
    for (int b = 0; b < blocks; ++b) {
      REKUR_UNROLL
      for (int p = 0; p < N; ++p) sum[b * N + p] = fma(x, load(w + k * Row + first[b] + i + p * kWidth), sum[b * N + p]);
    }
  }
}
template <int K, int Row, int... Column, int N, class W>
REKUR_INLINE void step_sums(Panels<N> panels, const float* a, const W* w, const float* bias, int i, Vec* sum) {
  constexpr int first = first_sum(K);
  panel_sums<first, Row, Column...>(panels, a, w, bias, i, sum);
  if constexpr (first < K) {
    constexpr int count = sizeof...(Column) * N;
    Vec second[count];
    panel_sums<K - first, Row, Column...>(panels, a + first, w + first * Row, nullptr, i, second);
    REKUR_UNROLL
    for (int n = 0; n < count; ++n) sum[n] += second[n];
  }
}
template <int K, int Row, int N, int... Column, class W>
REKUR_INLINE void step_product(const float* a, const W* w, const float* bias, float* to) {
  constexpr int first = first_sum(K);
  product<first, Row, N, Column...>(a, w, bias, to);
  if constexpr (first < K) {
    alignas(64) float second[sizeof...(Column) * lines(N)];
    product<K - first, Row, N, Column...>(a + first, w + first * Row, nullptr, second);
    for (int block = 0; block < static_cast<int>(sizeof...(Column)); ++block) {
      float* const own = to + block * lines(N);
      map<N>(own, second + block * lines(N), own, [](Vec u, Vec v) REKUR_INLINED { return u + v; });
    }
  }
}
template <int Taps, int N, class W>
REKUR_INLINE void depthwise(const float* x, const W* w, const float* bias, float* y) {
  for (int i = 0; i < N; i += kWidth) {
    Vec sum = bias ? load(bias + i) : zero();
    for (int k = 0; k < Taps; ++k) sum = fma(load(x + k * lines(N) + i), load(w + k * N + i), sum);
    store(y + i, sum);
  }
}
template <ActivationKind K, int N>
REKUR_INLINE void activate(float alpha, float beta, const float* x, float* y) {
  map<N>(x, y, [=](Vec v) REKUR_INLINED { return activation<K>({K, alpha, beta}, v); });
}
template <int N>
REKUR_INLINE void softmax(const float* x, float* y) {
  Vec best = set1(-REKUR_INFINITY);
  for (int i = 0; i < N; i += kWidth) best = at_least(best, within<N>(load(x + i), i, -REKUR_INFINITY));
  float largest = best[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = best[lane] > largest ? best[lane] : largest;
  RowSum total;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec e = within<N>(exp(load(x + i) - set1(largest)), static_cast<int>(i), 0.0f);
    store(y + i, e);
    total.s[j] += e;
  });
  const float sum = total.total();
  map<N>(y, y, [=](Vec e) REKUR_INLINED { return e / set1(sum); });
}
template <int N>
REKUR_INLINE void affine(const float* x, const float* scale, const float* offset, float* y) {
  for (int i = 0; i < N; i += kWidth) store(y + i, fma(load(x + i), load(scale + i), load(offset + i)));
}
template <int N>
REKUR_INLINE void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, float* y) {
  constexpr float size = static_cast<float>(N);
  RowSum sum;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED { sum.s[j] += within<N>(load(x + i), static_cast<int>(i), 0.0f); });
  const float shift = sum.total() / size;
  RowSum differences, squares;
  by_sixteens(N, [&](Index i, Index, int j) REKUR_INLINED {
    const Vec d = within<N>(load(x + i) - set1(shift), static_cast<int>(i), 0.0f);
    differences.s[j] += d;
    squares.s[j] = fma(d, d, squares.s[j]);
  });
  const float rest = differences.total() / size;
  float variance = squares.total() / size - rest * rest;
  if (variance < 0) variance = 0;
  const Vec deviation = sqrt(set1(variance + epsilon));
  const Vec inverse = set1(1.0f / deviation[0]);
  for (int i = 0; i < N; i += kWidth) {
    const Vec normal = ((load(x + i) - set1(shift)) - set1(rest)) * inverse;
    store(y + i, fma(normal, gamma ? load(gamma + i) : set1(1.0f), beta ? load(beta + i) : zero()));
  }
}
template <int N, int Step>
REKUR_INLINE void prelu(const float* x, const float* alpha, float* y) {
  map<N>(x, y, [](Vec v) REKUR_INLINED { return v; });
  for (int i = 0; i < N; ++i) y[i] = x[i] > 0 ? x[i] : x[i] * alpha[i * Step];
}
template <int Rows, int N, class W>
REKUR_INLINE void embedding(const int32_t* id, const W* table, float* y) {
  const bool known = *id >= 0 && *id < Rows;
  for (int i = 0; i < N; i += kWidth) store(y + i, known ? load(table + *id * N + i) : set1(REKUR_NAN));
}
template <int N>
REKUR_INLINE float masking(float value, const float* x, float* y) {
  bool there = false;
  for (int i = 0; i < N; ++i) there = there || x[i] != value;
  for (int i = 0; i < N; ++i) y[i] = there ? x[i] : 0.0f;
  return there ? 1.0f : 0.0f;
}
template <int Span, int N>
REKUR_INLINE void enter(const float* x, float* window) {
  for (int i = 0; i < N; ++i) window[(Span - 1) * N + i] = x[i];
}
template <int Span, int N>
REKUR_INLINE void leave(float* window) {
  for (int i = 0; i < (Span - 1) * N; ++i) window[i] = window[N + i];
}
template <int Taps, int Dilation, int N, int Multiplier, int Stride>
REKUR_INLINE void taps(const float* window, float* to) {
  for (int k = 0; k < Taps; ++k)
    for (int i = 0; i < N * Multiplier; ++i) to[k * Stride + i] = window[k * Dilation * N + i / Multiplier];
}
}
}

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

class Model {
 public:
  // Numbers of a step, by argument.
  static constexpr int size_of_input_signal = 1;
  static constexpr int size_of_output_output = 1;
  static constexpr int state_size = 32;
  // Of the signal whose samples the steps are, in Hz (0: not said); samples that the output is behind.
  static constexpr double sample_rate = 0.0;
  static constexpr int latency = 0;

  // One time step. No array of outputs may overlap another array.
  void step(const float* input_signal, float* output_output) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    run(input_signal, output_output);
  }

  // So many of them, one after the other in the arrays.
  void process(const float* input_signal, float* output_output, int steps) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    for (int step = 0; step < steps; ++step) run(input_signal + step * 1, output_output + step * 1);
  }

  // The beginning of a sequence.
  void reset() noexcept { *this = Model(); }

  // The states, state_size floats in the order of a rekur::Stream's.
  void get_state(float* state) const noexcept {
    copy<16>(layer_lstm_h_, state + 0);
    copy<16>(layer_lstm_c_, state + 16);
    static_cast<void>(state);
  }
  void set_state(const float* state) noexcept {
    copy<16>(state + 0, layer_lstm_h_);
    copy<16>(state + 16, layer_lstm_c_);
    static_cast<void>(state);
  }

 private:
  REKUR_NOINLINE void run(const float* input_signal, float* output_output) noexcept {
    alignas(64) float y7[16];
    alignas(64) float y8[16];
    alignas(64) float x1[16] = {};
    copy<1>(input_signal, x1);
    using Groups4 = PanelGroups<16, 8>;
    alignas(64) float t5[16];
    each_group<Groups4>([&](auto g, int i) REKUR_INLINED {
      constexpr int N = decltype(g)::count;
      Vec x2[4 * N];
      panel_sums<1, 64, 0, 16, 32, 48>(g, x1, weights::layer_lstm_kernel, weights::layer_lstm_bias, i, x2);
      Vec h3[4 * N];
      step_sums<16, 64, 0, 16, 32, 48>(g, layer_lstm_h_, weights::layer_lstm_recurrent_kernel, nullptr, i, h3);
      Vec v6_0[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_0[p] = x2[0 * N + p];
      Vec v6_1[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_1[p] = x2[1 * N + p];
      Vec v6_2[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_2[p] = x2[2 * N + p];
      Vec v6_3[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_3[p] = x2[3 * N + p];
      Vec v6_4[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_4[p] = h3[0 * N + p];
      Vec v6_5[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_5[p] = h3[1 * N + p];
      Vec v6_6[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_6[p] = h3[2 * N + p];
      Vec v6_7[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_7[p] = h3[3 * N + p];
      Vec v6_8[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_8[p] = load(layer_lstm_c_ + i + p * kWidth);
      Vec v6_9[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_9[p] = v6_0[p] + v6_4[p];
      Vec v6_10[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_10[p] = activation<ActivationKind::sigmoid>(Activation{ActivationKind::sigmoid, 0.0f, 0.0f}, v6_9[p]);
      Vec v6_11[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_11[p] = v6_1[p] + v6_5[p];
      Vec v6_12[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_12[p] = activation<ActivationKind::sigmoid>(Activation{ActivationKind::sigmoid, 0.0f, 0.0f}, v6_11[p]);
      Vec v6_13[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_13[p] = v6_2[p] + v6_6[p];
      Vec v6_14[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_14[p] = activation<ActivationKind::tanh>(Activation{ActivationKind::tanh, 0.0f, 0.0f}, v6_13[p]);
      Vec v6_15[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_15[p] = v6_10[p] * v6_14[p];
      Vec v6_16[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_16[p] = v6_12[p] * v6_8[p];
      Vec v6_17[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_17[p] = v6_16[p] + v6_15[p];
      Vec v6_18[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_18[p] = v6_3[p] + v6_7[p];
      Vec v6_19[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_19[p] = activation<ActivationKind::sigmoid>(Activation{ActivationKind::sigmoid, 0.0f, 0.0f}, v6_18[p]);
      Vec v6_20[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_20[p] = activation<ActivationKind::tanh>(Activation{ActivationKind::tanh, 0.0f, 0.0f}, v6_17[p]);
      Vec v6_21[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v6_21[p] = v6_19[p] * v6_20[p];
      REKUR_UNROLL for (int p = 0; p < N; ++p) store((Groups4::one ? layer_lstm_h_ : t5) + i + p * kWidth, v6_21[p]);
      REKUR_UNROLL for (int p = 0; p < N; ++p) store(layer_lstm_c_ + i + p * kWidth, v6_17[p]);
    });
    if constexpr (!Groups4::one) map<16>(t5, layer_lstm_h_, [](Vec v) REKUR_INLINED { return v; });
    dots<16, 1>(layer_lstm_h_, weights::layer_dense_kernel, weights::layer_dense_bias, y7);
    map<1>(y7, x1, y8, [](Vec a, Vec b) REKUR_INLINED { return a + b; });
    copy<1>(y8, output_output);
  }

  alignas(64) float layer_lstm_h_[16] = {};
  alignas(64) float layer_lstm_c_[16] = {};
};

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur

using rekur::REKUR_SIMD_NAMESPACE::Model;

}  // inline namespace REKUR_STATIC_ISA
}  // namespace amp_static

#pragma GCC diagnostic pop
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#else
#pragma GCC pop_options
#endif
#undef REKUR_ABS
#undef REKUR_ARM_SMLAD
#undef REKUR_ARM_SXTB16
#undef REKUR_BIT_CAST
#undef REKUR_CONVERT_VECTOR
#undef REKUR_COPY
#undef REKUR_COS
#undef REKUR_EXP
#undef REKUR_EXPECT
#undef REKUR_FLOAT_MAX
#undef REKUR_FLOAT_MIN
#undef REKUR_FUSES
#undef REKUR_INFINITY
#undef REKUR_INLINE
#undef REKUR_INLINED
#undef REKUR_LOG
#undef REKUR_LOGF
#undef REKUR_NAN
#undef REKUR_NOINLINE
#undef REKUR_PREFETCH
#undef REKUR_SHUFFLE
#undef REKUR_SIN
#undef REKUR_SQRT
#undef REKUR_UNROLL
#undef REKUR_UNROLL_FOUR
#undef REKUR_VECTOR
#undef REKUR_VECTOR_AT
#undef REKUR_VECTOR_CASTS_BEGIN
#undef REKUR_VECTOR_CASTS_END
#undef REKUR_STATIC_ISA
#undef REKUR_STATIC_BYTES
#undef REKUR_STATIC_DOT
#undef REKUR_STATIC_NEAR
#undef REKUR_VEC_BYTES
#undef REKUR_SIMD_NAMESPACE
