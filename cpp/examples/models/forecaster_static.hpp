// The model "forecaster" as a type, written by `rekur export-cpp --static`. Do not edit.
//
//   input   temperature: float32 [1]
//   output  forecast: float32 [12]
//
//   forecaster_static::Model model;      // its states, and nothing else: the weights are constants
//   model.step(input_temperature, output_forecast);  // one time step; process(…, n): n of them
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

namespace forecaster_static {

namespace weights {
alignas(64) inline constexpr float layer_gru_kernel[64] = {
    0x1.0aa958p-3f, -0x1.772fdap-3f, -0x1.ffbfdap-5f, -0x1.9c64a8p-2f, 0x1.7cf23cp-1f, 0x1.38205p-3f, -0x1.4835bcp-3f,
    0x1.abe07p-1f, -0x1.29177ep-2f, 0x1.c23438p-2f, 0x1.cff12ep-1f, 0x1.452934p-1f, 0x1.4d57f8p-1f, -0x1.7161acp-2f,
    -0x1.8910ccp-2f, -0x1.2c7038p-3f, 0x1.5338ccp-1f, -0x1.41c662p-5f, 0x1.5ef17p-3f, 0x1.bf14dp-3f, 0x1.38cb9ep-1f,
    -0x1.d67276p-3f, 0x1.b93392p-2f, 0x1.a9a178p-3f, 0x1.00bb62p-2f, 0x1.1cf07p-1f, 0x1.3eae4cp-2f, 0x1.8a1606p-4f,
    -0x1.0fb8a8p-2f, -0x1.18d76cp-1f, -0x1.ba00b2p-3f, -0x1.1aa076p-1f, -0x1.44a9dp-2f, 0x1.6a9edep-2f, 0x1.6b357cp-2f,
    0x1.93656cp-2f, 0x1.0aab76p-1f, 0x1.9f4506p-2f, -0x1.b76c4ep-4f, -0x1.1c23d2p-2f, -0x1.1ee32cp-3f, -0x1.bd4116p-2f,
    0x1.1110eap-2f, 0x1.aa735ep-3f, 0x1.f4f27p-3f, 0x1.b17338p-2f, 0x1.3af41p-3f, -0x1.53fc0cp-2f,
};
alignas(64) inline constexpr float layer_gru_recurrent_kernel[784] = {
    -0x1.9545b6p-1f, -0x1.5c664cp-1f, -0x1.5d2f98p0f, 0x1.976656p-2f, -0x1.447e4cp-2f, -0x1.994a46p-1f,
    -0x1.81bca6p-1f, -0x1.30215cp-1f, -0x1.796bcep-2f, -0x1.334c46p0f, -0x1.68d4fcp-2f, -0x1.4b9302p-2f,
    -0x1.d5b0ap-1f, -0x1.c1284ap-3f, -0x1.c5da72p-1f, 0x1.af796p-2f, -0x1.74a47p0f, 0x1.6785eep-3f, 0x1.8cdc86p-2f,
    -0x1.d2b11ap-2f, -0x1.85ccc2p-4f, 0x1.e4c9acp-6f, 0x1.6e4d62p-1f, -0x1.ac5266p-1f, 0x1.460c2ep-6f, -0x1.022004p-1f,
    -0x1.972e38p-4f, -0x1.709f3ep-2f, -0x1.cba7eep-4f, 0x1.8f45f2p-3f, -0x1.9347cap-2f, 0x1.76626ap-4f, 0x1.20388p-1f,
    -0x1.a70e0cp-2f, -0x1.aba112p-2f, 0x1.1292ecp0f, 0x1.068b5p-1f, -0x1.5eb132p-3f, 0x1.3691b6p-4f, -0x1.553656p-3f,
    0x1.f552a2p-3f, -0x1.ffebe6p-3f, 0x1.6c9edp-4f, 0x1.9b9b0ep-4f, -0x1.386ee8p-2f, 0x1.003c2cp-4f, -0x1.370a2cp-3f,
    0x1.bb6cf4p-2f, -0x1.425bbp-1f, 0x1.a5fb22p-2f, 0x1.19da06p-1f, -0x1.8c3608p-1f, -0x1.206bb6p-2f, 0x1.53c65ep-2f,
    0x1.0f7358p-1f, -0x1.01c5c8p-1f, 0x1.57fd48p0f, 0x1.216682p-1f, 0x1.861628p-4f, 0x1.1f4cfp-2f, 0x1.ef639ep-2f,
    -0x1.4ca936p-2f, 0x1.3ef826p-4f, 0x1.c76dfep-5f, 0x1.48f13p-3f, 0x1.b525bap-3f, -0x1.badd7cp-4f, 0x1.ee2b16p-5f,
    -0x1.a273a4p-2f, 0x1.340c82p-4f, -0x1.ca149cp-2f, 0x1.5ad4dp-2f, -0x1.2c6456p-2f, 0x1.b12916p-6f, 0x1.816e14p-3f,
    -0x1.ec49ap-5f, -0x1.ebd01cp-3f, 0x1.be09f8p-2f, 0x1.9988dap-2f, 0x1.917716p-2f, 0x1.d1b846p-2f, 0x1.2674bep-8f,
    -0x1.039724p-1f, 0x1.4dcbbp-3f, -0x1.36928ap-2f, 0x1.655af2p-3f, -0x1.4c021ap-4f, 0x1.260458p-3f, -0x1.6d4d68p-3f,
    -0x1.1804ap-3f, -0x1.f362fap-4f, 0x1.aaad92p-3f, 0x1.1cc09p-1f, -0x1.55975cp-1f, 0x1.98ee7ep-2f, 0x1.bce51p-3f,
    0x1.bb9f38p-2f, 0x1.6e4dap-1f, 0x1.395902p0f, -0x1.65511ap-2f, 0x1.212ea8p-2f, 0x1.98648ep-2f, 0x1.67f642p-1f,
    -0x1.cd5da8p-3f, 0x1.0e2166p0f, 0x1.9efa72p-3f, -0x1.988a1ap-3f, 0x1.99427ap-3f, 0x1.57218ap-5f, 0x1.c9f2e4p-3f,
    -0x1.011ea4p-2f, 0x1.a6cf36p-2f, 0x1.2fa4e2p-2f, 0x1.05b2cep-8f, -0x1.ed8158p-2f, 0x1.74bdb8p-3f, -0x1.3fa374p-1f,
    -0x1.71bbd4p-4f, -0x1.35c796p-3f, 0x1.2face8p-3f, 0x1.5c772ap-9f, 0x1.8313d4p-4f, -0x1.1dc282p-2f, 0x1.01c0e6p-1f,
    0x1.3da6cp-1f, 0x1.65946p-2f, -0x1.e7374ap-4f, 0x1.d57bep-4f, 0x1.817e58p-3f, 0x1.3ea25p-2f, 0x1.c50feep-9f,
    -0x1.56df04p-1f, -0x1.73e786p-1f, 0x1.228bbep-3f, -0x1.1b3a18p-3f, 0x1.c99392p-2f, 0x1.062932p-2f, 0x1.fda786p-2f,
    -0x1.e01e9p-3f, -0x1.7cd7f2p-3f, 0x1.cb50b2p-5f, -0x1.887bc8p-2f, -0x1.02951ep-1f, 0x1.1e99ccp-3f, -0x1.28afcp0f,
    0x1.284c62p-2f, -0x1.a62598p-1f, -0x1.396454p-1f, -0x1.3d2a6cp0f, 0x1.30c1f6p0f, -0x1.94f1c4p-5f, -0x1.3135aap0f,
    -0x1.697feap-1f, -0x1.dcd9cap0f, -0x1.bd9e0ep-1f, 0x1.56d17p0f, 0x1.00f87cp-1f, -0x1.7bbf6ap0f, -0x1.080e9p1f,
    -0x1.1a183ep-1f, -0x1.54ebcep-2f, -0x1.7180f8p-2f, 0x1.6b906p-4f, -0x1.3040c8p-2f, 0x1.bb72ap-10f, 0x1.040b46p-2f,
    0x1.36da52p-2f, -0x1.bf55b4p-2f, -0x1.829226p-3f, -0x1.a641acp-2f, -0x1.fb8344p-6f, 0x1.61f386p-4f, 0x1.0dd058p-6f,
    0x1.df5606p-2f, -0x1.681792p-5f, 0x1.c53304p-2f, 0x1.892128p-2f, -0x1.ea1886p-3f, -0x1.2cee86p-2f, 0x1.cdaa7cp-4f,
    -0x1.3ff6ccp-4f, -0x1.482008p-2f, 0x1.bd779ep-7f, 0x1.849f0cp-5f, -0x1.b0e5f8p-4f, -0x1.fa0db2p-3f,
    -0x1.1cc6fep-4f, 0x1.15bc2ap-2f, 0x1.35c2b2p-4f, -0x1.3223bap-4f, 0x1.04de46p-4f, 0x1.892ddep-3f, -0x1.b432d4p-2f,
    0x1.ae68eep-1f, -0x1.12c598p-1f, 0x1.1c1cfcp-2f, -0x1.93e65cp-1f, 0x1.a233f6p-1f, -0x1.b45146p-3f, -0x1.013e92p-1f,
    -0x1.bf5f94p-1f, -0x1.8859fp-2f, -0x1.f4e0c4p-3f, 0x1.b7c3ep-1f, 0x1.5be758p0f, -0x1.1c1f8p0f, -0x1.bee3e8p-1f,
    -0x1.89ab8p-1f, 0x1.416baep-4f, -0x1.1837dp-1f, -0x1.745632p-4f, -0x1.06ab42p-2f, 0x1.2a962ep-4f, 0x1.6ae7eap-4f,
    0x1.49eb46p-2f, -0x1.ec6a32p-4f, 0x1.15b4bep-4f, -0x1.6a6278p-3f, -0x1.94ad3ep-4f, -0x1.2d33c6p-3f,
    -0x1.34747ap-3f, 0x1.a2a4cep-3f, 0x1.b5ef3cp-2f, 0x1.7defccp-2f, -0x1.24a208p-2f, -0x1.94fe9ep-3f, 0x1.349a46p-4f,
    -0x1.a6af04p-6f, -0x1.5c155p-7f, -0x1.e78c1p-3f, 0x1.3512d2p-2f, 0x1.6195d6p-4f, -0x1.91b6b6p-3f, 0x1.09bd4ap-2f,
    -0x1.c6b4e2p-3f, 0x1.0e310ep-2f, 0x1.3ff93ep-3f, -0x1.7cfbaep-8f, 0x1.9a3a3p-6f, -0x1.8dbfd4p-4f, 0x1.87c17p-2f,
    -0x1.5ce2ccp-2f, -0x1.9730a2p-2f, 0x1.51620ep-1f, 0x1.34962p-1f, -0x1.7c831ap-1f, 0x1.2945fp0f, -0x1.220c32p-1f,
    0x1.c1c33ep-2f, 0x1.05c11p-1f, 0x1.90766cp-6f, 0x1.19228ep-1f, -0x1.d7d84ap-1f, 0x1.2ce32p-2f, 0x1.1cb806p-3f,
    0x1.2aee04p-2f, -0x1.12a392p0f, -0x1.1d7824p-5f, 0x1.0573f2p-6f, -0x1.548e4ep-2f, -0x1.bdd3e4p-2f, -0x1.ebc146p-3f,
    -0x1.aa38a8p-3f, 0x1.104f5p-3f, 0x1.1e53f8p-4f, 0x1.22990ep-3f, -0x1.8ad4f6p-2f, -0x1.a9d584p-3f, 0x1.101aa6p-4f,
    0x1.9ef4dep-2f, -0x1.7437cap-3f, 0x1.9f07ecp-2f, 0x1.c6bcd4p-1f, 0x1.8dcacp-3f, -0x1.fb88fp-6f, 0x1.ee29fp-3f,
    -0x1.1ddd66p-2f, 0x1.70e67cp-3f, -0x1.2f3042p-2f, -0x1.6adeacp-2f, 0x1.86d7dap-3f, -0x1.7a7f6p-2f, 0x1.a24fdap-3f,
    -0x1.ff0d94p-4f, 0x1.5f3954p-2f, -0x1.d8b63ap-3f, 0x1.65d1a4p-2f, 0x1.45ff02p-1f, 0x1.020cep-2f, -0x1.924676p-3f,
    -0x1.37904cp-2f, 0x1.3ca2b4p-2f, -0x1.a4d6fcp-2f, 0x1.641a7ap-1f, -0x1.041d9p-1f, 0x1.1ff67ep0f, -0x1.3df5cp-2f,
    -0x1.fa7b12p-1f, -0x1.36a75ap-2f, -0x1.76f74ep-2f, 0x1.6e75e6p-1f, -0x1.db687p-2f, -0x1.d62424p-1f,
    -0x1.26ce02p-1f, 0x1.44f4cp-6f, 0x1.96b17p-4f, 0x1.136abcp-2f, -0x1.8bfacp-4f, -0x1.b17204p-2f, -0x1.0589fep-1f,
    -0x1.473ecep-2f, -0x1.b51f18p-1f, 0x1.c2f7fep-2f, -0x1.65453cp-1f, 0x1.af01e8p-4f, -0x1.dfd4ap-4f, -0x1.215618p-1f,
    -0x1.9a2e6ep-2f, 0x1.0fd41ep-3f, -0x1.7ede94p-1f, -0x1.07d4e8p-3f, 0x1.f5e978p-4f, 0x1.00b7d4p-5f, 0x1.26d696p-3f,
    0x1.493784p-2f, -0x1.869354p-4f, 0x1.dc6e4ep-6f, -0x1.ce22a6p-5f, 0x1.2da532p-5f, -0x1.dcdecp-4f, -0x1.2f272cp-5f,
    0x1.d50a4ep-3f, 0x1.08b1b2p-3f, 0x1.6a202cp-2f, 0x1.57d44ap-3f, -0x1.62662cp-2f, 0x1.f296f2p-7f, -0x1.192006p-1f,
    -0x1.dcc25cp-2f, 0x1.55daf4p-2f, 0x1.f6b9cap-2f, -0x1.132ffp-1f, -0x1.8f7d2ap-2f, 0x1.ca67dp-2f, 0x1.1f8f3ep-2f,
    -0x1.4ff84ep-2f, 0x1.98c48ap-3f, -0x1.87f0d4p-2f, -0x1.8483f4p-2f, 0x1.4c5eaep-2f, 0x1.f9edcep-2f, 0x1.119a0cp-1f,
    -0x1.fc0c8ep-2f, 0x1.c8c17cp-4f, -0x1.33888cp-4f, 0x1.8f687ep-3f, 0x1.38d5bap-10f, 0x1.eb8c42p-6f, -0x1.d18daep-3f,
    0x1.e4e058p-3f, 0x1.318b66p-9f, 0x1.25f16cp-2f, 0x1.3abc18p-3f, -0x1.bbedd2p-3f, -0x1.e3800ep-4f, -0x1.c95a5p-3f,
    -0x1.23fc8p-4f, -0x1.f79b3p-2f, 0x1.8d3aap-3f, -0x1.dd7a2ap-3f, 0x1.170182p-3f, 0x1.b11a28p-9f, -0x1.65bc3cp-4f,
    0x1.1ea41ep-2f, 0x1.edfb7cp-6f, 0x1.d4fdfap-3f, 0x1.5dd022p-3f, 0x1.1af692p-6f, 0x1.65938p-2f, 0x1.0853ap-2f,
    -0x1.45706cp-11f, 0x1.824e6ap-3f, -0x1.7a6994p-3f, -0x1.4be012p-3f, -0x1.efd994p-3f, 0x1.b5a01cp-1f,
    0x1.5ce312p-2f, -0x1.0a0084p0f, -0x1.264c2ap-1f, 0x1.631d78p0f, 0x1.34d3b2p-1f, -0x1.14148cp0f, -0x1.388112p-1f,
    -0x1.37c99ap1f, -0x1.ef4704p-3f, 0x1.1f52dp-2f, 0x1.c3ac76p-1f, -0x1.0061ccp-1f, -0x1.2dcc6p0f, -0x1.21cb8p-2f,
    0x1.661072p-1f, 0x1.8e733ep-3f, 0x1.9b66bap-2f, 0x1.19a396p-2f, -0x1.f5992ep-7f, -0x1.4d6d88p-3f, -0x1.1185eep-1f,
    -0x1.f67f3p-2f, 0x1.6237c8p-3f, -0x1.363404p-1f, 0x1.7c45f2p-4f, -0x1.1a4486p-3f, -0x1.51bc4ep-3f, -0x1.87145ep-3f,
    -0x1.93f752p-5f, 0x1.7a71a6p-3f, -0x1.6198dcp-5f, 0x1.a31f2ap-2f, -0x1.7eb49cp-7f, 0x1.3b4d18p-1f, 0x1.144d7cp-3f,
    0x1.2a1e4cp-4f, 0x1.3203dp-7f, -0x1.ba441p-3f, -0x1.66b902p-8f, -0x1.2db71p-3f, 0x1.737e6ap-2f, -0x1.6b4d96p-5f,
    -0x1.4123dap-5f, -0x1.1df4a2p-2f, -0x1.71b326p-2f, 0x1.854f1ap-2f, 0x1.09d996p-2f, -0x1.56c42cp-2f,
    -0x1.1de35ap-2f, 0x1.590accp-7f, 0x1.8309fep-3f, -0x1.392e22p-1f, -0x1.ec2898p-2f, 0x1.c3da76p-7f, -0x1.5627aep-2f,
    -0x1.dda362p-1f, -0x1.8b6334p-3f, -0x1.4994f2p-2f, -0x1.64934ep-2f, 0x1.881116p-2f, -0x1.5ec198p-6f, 0x1.7f682p-4f,
    -0x1.71d84ap-2f, -0x1.62b3cep-7f, 0x1.7cfc44p-4f, -0x1.db13f2p-4f, 0x1.56cd9ep-4f, -0x1.0bf8d8p-5f,
    -0x1.384526p-3f, -0x1.75efccp-6f, -0x1.1ffc6p-5f, -0x1.50b7p-9f, 0x1.3f6feep-5f, -0x1.2c3024p-2f, -0x1.3c9ae2p-4f,
    -0x1.9711b8p-6f, -0x1.c7ce18p-4f, -0x1.a508f8p-2f, 0x1.e38e9ep-4f, -0x1.3ca6eep-2f, -0x1.15653cp-2f,
    -0x1.1e8952p-4f, 0x1.972096p-4f, 0x1.98f7eap-2f, -0x1.a41738p-4f, 0x1.75325ep-4f, 0x1.ae0b9cp-3f, 0x1.2aec8cp-5f,
    0x1.369372p-5f, 0x1.21f1e2p-3f, -0x1.3b68aep-7f, 0x1.6717eap-10f, 0x1.3fdd04p-2f, -0x1.cf0cdcp-6f, -0x1.f06b6ep-2f,
    0x1.577fbep-2f, 0x1.303b46p-2f, -0x1.39297ep-1f, -0x1.6e77ccp-2f, 0x1.ddc628p-2f, 0x1.9b93b2p-2f, -0x1.f59a8cp-1f,
    -0x1.5c08ccp-3f, -0x1.bf2dfcp-1f, -0x1.cbeb48p-2f, 0x1.9d157p-1f, 0x1.195cdcp0f, -0x1.b9ea6ep-3f, -0x1.7e6f22p0f,
    -0x1.7daf32p-2f, 0x1.195d12p-1f, -0x1.53e466p-4f, 0x1.adc598p-4f, 0x1.53fb4ep-4f, 0x1.5bb86cp-2f, 0x1.41bfcp-2f,
    0x1.5e8694p-3f, -0x1.01ea36p-3f, -0x1.0655aap-3f, -0x1.4d10e6p-2f, -0x1.50f89ap-3f, 0x1.7a0346p-2f,
    -0x1.f25c2ap-3f, 0x1.7855ep-4f, 0x1.2f6602p-3f, 0x1.5324f6p-3f, 0x1.26c318p-5f, 0x1.42f64cp-2f, 0x1.270454p-1f,
    0x1.942c22p-2f, -0x1.1c00b4p-5f, 0x1.0d0ee2p-2f, 0x1.479f9ap-6f, 0x1.1e3798p-5f, -0x1.08e3b6p-2f, 0x1.276998p-2f,
    -0x1.57eee2p-3f, -0x1.415d6cp-5f, 0x1.97363cp-3f, 0x1.c836f2p-4f, 0x1.eda52ep-6f, 0x1.6e1588p-3f, 0x1.dae584p-3f,
    -0x1.c37704p-1f, -0x1.b2f9b6p-1f, 0x1.28dd04p0f, 0x1.39aae4p0f, -0x1.5d8c22p-1f, 0x1.4ac6dap-6f, 0x1.0999fep0f,
    -0x1.0f0b22p-3f, 0x1.267ba4p-1f, 0x1.bb5c7ep-2f, 0x1.13abb4p-4f, -0x1.378c82p-2f, 0x1.39c2acp-1f, 0x1.cf42acp-4f,
    0x1.14c33ep-3f, -0x1.1e0da2p0f, -0x1.5de72ap-5f, -0x1.2a6d44p-2f, -0x1.ae9128p-2f, -0x1.05157cp-1f,
    -0x1.8d7cdep-7f, -0x1.833134p-2f, 0x1.34c1b2p-4f, -0x1.13ca2cp-2f, 0x1.98af74p-2f, 0x1.c88952p-7f, 0x1.1b8da8p-3f,
    0x1.20f6c2p-10f, 0x1.2100dap-2f, -0x1.11ef92p-4f, -0x1.c1284p-4f, 0x1.d1a6f6p-3f, 0x1.19213ep-7f, -0x1.2f190ep-5f,
    0x1.832efep-4f, 0x1.26a228p-2f, -0x1.677974p-3f, 0x1.ccafb8p-5f, -0x1.162958p-2f, 0x1.a10754p-9f, -0x1.a8e6c4p-3f,
    -0x1.387ec6p-2f, -0x1.c04d5ap-3f, 0x1.09ee9cp-2f, -0x1.469ff2p-4f, 0x1.60944cp-3f, 0x1.83b05ep-2f, 0x1.c240dap-3f,
    -0x1.5b5508p-1f, -0x1.419f64p-3f, 0x1.722f4ap-1f, 0x1.ea9a5p-1f, -0x1.d36ab8p-1f, 0x1.cc6d7cp-1f, 0x1.558694p-3f,
    0x1.74f55ap-1f, 0x1.08dcb8p1f, 0x1.52bf96p-2f, -0x1.6e6962p-2f, -0x1.4d966ap0f, 0x1.32bfa2p0f, -0x1.038546p-3f,
    0x1.4b673ap-1f, -0x1.67eb98p-1f, -0x1.2c78aap-6f, 0x1.7e941ep-4f, -0x1.1e1cacp-3f, -0x1.793f34p-2f,
    -0x1.49c3ccp-5f, 0x1.1d4138p-3f, -0x1.287a14p-3f, -0x1.10afa6p-3f, -0x1.179b7p-4f, -0x1.704d3ap-7f,
    -0x1.01c42ep-4f, 0x1.021ebcp-2f, -0x1.39f42cp-5f, 0x1.3567dcp-2f, -0x1.39d6cap-4f, 0x1.805036p-2f, -0x1.a4204ap-2f,
    -0x1.75c2bap-2f, 0x1.caec0ep-3f, 0x1.350e2p-3f, -0x1.5849b2p-5f, -0x1.12d60cp-2f, -0x1.53e28ep-2f, -0x1.119068p-2f,
    -0x1.d395c4p-2f, -0x1.382782p-3f, 0x1.5bb6a8p-3f, 0x1.a77f86p-4f, 0x1.68ea72p-7f, 0x1.c201e2p-3f, -0x1.53650ep-3f,
    0x1.9fcb6ep-4f, 0x1.13b582p-1f, -0x1.53e3fp-1f, 0x1.6c7502p-1f, -0x1.909c5ap-3f, 0x1.111abap-1f, -0x1.ec699ap-2f,
    0x1.72a9bap-2f, -0x1.cdb9d2p-1f, 0x1.12ac1ap0f, 0x1.742872p-2f, 0x1.aad85ap-1f, 0x1.724396p0f, -0x1.33adbcp-1f,
    0x1.d2deccp-1f, -0x1.94c7bcp0f, 0x1.60f78p-2f, -0x1.33cb88p-2f, 0x1.26ee22p-3f, 0x1.4f7ccep-5f, -0x1.05837cp-7f,
    -0x1.e1e35p-3f, 0x1.2650ccp-2f, 0x1.4c001cp-2f, -0x1.3540fp-3f, 0x1.a55358p-2f, 0x1.9d640cp-2f, -0x1.240996p-3f,
    0x1.49ddc2p-5f, 0x1.dbf1b4p-4f, 0x1.38be26p-2f, 0x1.e87af6p-8f, -0x1.1dab72p-1f, 0x1.4b6f2cp-4f, 0x1.8b17ccp-2f,
    -0x1.7f7a26p-2f, -0x1.252794p-2f, 0x1.96eb9ep-4f, -0x1.7b292ep-3f, 0x1.eafc44p-2f, -0x1.e4b8cep-6f, 0x1.63385ap-2f,
    -0x1.1903f4p-2f, -0x1.1e008cp-3f, 0x1.a735c4p-5f, -0x1.a32af4p-5f, -0x1.802662p-2f, 0x1.5f6e86p-3f,
    -0x1.46dc7ep-3f, 0x1.acae12p-4f, -0x1.61dbeep-2f, 0x1.b7a226p-1f, 0x1.e1e6aap-2f, -0x1.070588p-2f, -0x1.9f3e42p-6f,
    0x1.791724p-2f, 0x1.28603p-3f, 0x1.dfe97p-1f, -0x1.61f046p-4f, 0x1.894b7cp-2f, 0x1.ab1a04p-4f, 0x1.74af0ap-2f,
    0x1.22f52p-2f, 0x1.1ca2a4p-5f, -0x1.d5a386p-3f, -0x1.9a5e72p-2f, 0x1.8dcc1ep-3f, 0x1.3fb71ep-8f, 0x1.6663aep-5f,
    -0x1.1795cp-4f, 0x1.5efc08p-3f, 0x1.0a1404p-1f, -0x1.1f5988p-3f, -0x1.82c7bap-4f, 0x1.b7cfe8p-5f, -0x1.dcd69ap-3f,
    0x1.2744e6p-3f, -0x1.4e1642p-4f, 0x1.432612p-2f, -0x1.1abd9ep-2f, 0x1.d5fd8ep-9f, -0x1.a2c352p-3f, -0x1.41adbcp-2f,
    -0x1.87b708p-4f, -0x1.6f1e08p-3f, -0x1.f74cc4p-6f, 0x1.975a8ap-5f, -0x1.c0e4aep-3f, -0x1.d699p-3f, 0x1.5a62a2p-4f,
    -0x1.846696p-3f, 0x1.00d65ap-2f, -0x1.4b3322p-8f, 0x1.534844p-3f, 0x1.09797cp-3f, 0x1.6c5276p-2f, -0x1.8ae22ep-1f,
    0x1.b64702p-3f, 0x1.d572f6p-2f, -0x1.4f2f42p0f, -0x1.0d3596p0f, 0x1.281d3p-1f, 0x1.3b248ap-2f, -0x1.2d160ap0f,
    0x1.878edep-4f, -0x1.bf58d8p0f, -0x1.c9fcep-2f, -0x1.ff79b8p-1f, -0x1.24c4p-1f, -0x1.11a22p-1f, -0x1.eda57ap-1f,
    0x1.554c7cp-6f, 0x1.52fa68p-3f, -0x1.d0eaecp-5f, 0x1.4b15eep-2f, 0x1.2c6cb8p-1f, 0x1.c4eb2cp-5f, 0x1.c559e8p-3f,
    0x1.fa0e24p-4f, -0x1.b65a88p-2f, 0x1.8dc792p-3f, -0x1.e573aap-2f, 0x1.4ce3d8p-3f, -0x1.241728p-4f, -0x1.71152ep-5f,
    0x1.61040cp-2f, -0x1.3a064ap-5f, 0x1.78fd5p-1f, 0x1.c6063ap-2f, -0x1.d265dp-4f, -0x1.c1abc2p-2f, 0x1.88a79ep-2f,
    0x1.ef54bap-2f, -0x1.2ab4c8p-2f, 0x1.949462p-1f, -0x1.601df2p-2f, 0x1.a738e4p-2f, -0x1.f93a58p-4f, 0x1.be0c3ep-2f,
    -0x1.41cc58p-2f, -0x1.1e6edcp-3f, -0x1.bc559cp-3f, 0x1.dc279ep-3f, -0x1.556eep-4f,
};
alignas(64) inline constexpr float layer_gru_bias[64] = {
    0x1.844cf2p-4f, 0x1.d3a7aap-4f, 0x1.16b5e2p-3f, -0x1.0af27p-1f, -0x1.768642p-2f, 0x1.548c3p-7f, -0x1.d64faep-8f,
    -0x1.95be2cp-2f, 0x1.2d8f8ap-6f, -0x1.3c4abep-1f, -0x1.846f18p-1f, 0x1.df167ep-7f, -0x1.e803c6p-3f,
    -0x1.5d2caep-2f, -0x1.ea92fap-5f, -0x1.46e33ap-1f, 0x1.2a90aap-1f, 0x1.bcaeb2p-3f, 0x1.31d894p-2f, 0x1.8db65cp-2f,
    0x1.76258ap-3f, 0x1.51b766p-4f, -0x1.8c5286p-4f, -0x1.1128dcp-3f, 0x1.624e6ep-3f, -0x1.9cc4e4p-4f, 0x1.8d909ep-4f,
    0x1.d0dcf2p-4f, 0x1.4bb01p-3f, 0x1.a3e40ep-6f, 0x1.ee0b28p-3f, 0x1.d4124ap-2f, -0x1.073d8p-5f, 0x1.0e9034p-3f,
    0x1.501d42p-4f, 0x1.ad0bbap-5f, 0x1.ef2eb2p-6f, -0x1.b2eaep-3f, -0x1.96c08ep-5f, -0x1.44373ep-3f, 0x1.fe17cp-3f,
    -0x1.b06accp-3f, 0x1.ede584p-7f, -0x1.c7a8f6p-3f, -0x1.6630fap-3f, 0x1.7027cep-4f, -0x1.93495p-5f, 0x1.2d602p-2f,
};
alignas(64) inline constexpr float layer_gru_recurrent_bias[64] = {
    0x1.844cf2p-4f, 0x1.d3a7aap-4f, 0x1.16b5e2p-3f, -0x1.0af27p-1f, -0x1.768642p-2f, 0x1.548c3p-7f, -0x1.d64faep-8f,
    -0x1.95be2cp-2f, 0x1.2d8f8ap-6f, -0x1.3c4abep-1f, -0x1.846f18p-1f, 0x1.df167ep-7f, -0x1.e803c6p-3f,
    -0x1.5d2caep-2f, -0x1.ea92fap-5f, -0x1.46e33ap-1f, 0x1.2a90aap-1f, 0x1.bcaeb2p-3f, 0x1.31d894p-2f, 0x1.8db65cp-2f,
    0x1.76258ap-3f, 0x1.51b766p-4f, -0x1.8c5286p-4f, -0x1.1128dcp-3f, 0x1.624e6ep-3f, -0x1.9cc4e4p-4f, 0x1.8d909ep-4f,
    0x1.d0dcf2p-4f, 0x1.4bb01p-3f, 0x1.a3e40ep-6f, 0x1.ee0b28p-3f, 0x1.d4124ap-2f, -0x1.fc8a04p-4f, 0x1.466b0ep-3f,
    0x1.193dc6p-3f, 0x1.63a132p-4f, 0x1.57e858p-4f, -0x1.d6ddfp-3f, 0x1.ecd58p-5f, -0x1.e32434p-4f, 0x1.9c4946p-3f,
    -0x1.db3b56p-3f, 0x1.fcd20ep-7f, -0x1.b7083cp-3f, -0x1.d91668p-3f, -0x1.5ff5aep-3f, -0x1.2c029ap-4f,
    0x1.16f944p-1f,
};
alignas(64) inline constexpr float layer_head_bias[28] = {
    -0x1.63c618p-5f, 0x1.3e8454p-4f, 0x1.d8e9dcp-6f, -0x1.8ae904p-4f, -0x1.3177e2p-5f, 0x1.28afd8p-5f, 0x1.5c7dfp-8f,
    0x1.038c9ep-3f, 0x1.eeed9cp-4f, 0x1.b45ea4p-4f, 0x1.279598p-4f, 0x1.3b3932p-3f,
};
alignas(64) inline constexpr float layer_head_kernel[220] = {
    -0x1.07469ep-3f, -0x1.342adep-2f, -0x1.3cc042p-2f, -0x1.f63856p-2f, -0x1.493e5ep-2f, -0x1.cdf516p-3f,
    -0x1.4fd638p-2f, 0x1.f1497ep-4f, 0x1.4cdcfcp-3f, 0x1.c48552p-3f, 0x1.865cbp-2f, 0x1.06924ap-2f, 0x1.b78f3cp-3f,
    0x1.a35b22p-7f, 0x1.758456p-5f, 0x1.961788p-5f, -0x1.3d4c7p-6f, 0x1.c3ef5cp-3f, 0x1.a3202cp-3f, 0x1.17b18cp-2f,
    0x1.09616cp-2f, 0x1.0b6d28p-1f, 0x1.7c183p-2f, 0x1.1e890ap-1f, 0x1.a639eep-5f, 0x1.25fabap-3f, 0x1.3f8d08p-2f,
    -0x1.0924eap-2f, -0x1.a577e8p-3f, -0x1.eb55a4p-3f, -0x1.3dcbfp-1f, -0x1.f2b53cp-2f, -0x1.cfe7f2p-2f,
    -0x1.855fcp-2f, 0x1.61218ep-5f, 0x1.903ff6p-3f, 0x1.0da0c2p-2f, 0x1.b1ce1cp-2f, 0x1.918cbap-2f, 0x1.067cc6p-1f,
    0x1.df9afcp-3f, 0x1.161354p-2f, 0x1.98263cp-2f, 0x1.3bd15ep-4f, 0x1.641e9ep-3f, 0x1.3d8252p-2f, 0x1.2c27c2p-3f,
    0x1.df3cc2p-2f, 0x1.fd7f7cp-3f, 0x1.10af22p-2f, 0x1.327db4p-2f, 0x1.688ebcp-3f, 0x1.69e58p-3f, 0x1.54eb6ep-1f,
    0x1.e6d74p-2f, 0x1.b5522cp-2f, 0x1.f5965cp-2f, 0x1.1511aap-2f, 0x1.0e4b5ap-1f, 0x1.af0444p-5f, 0x1.05dc5ap-4f,
    -0x1.317de6p-6f, -0x1.eee534p-4f, 0x1.3a04d6p-2f, -0x1.1fbaap-4f, 0x1.4c0ba4p-2f, 0x1.a894a4p-2f, 0x1.60f0bep-3f,
    0x1.20f8eep-4f, 0x1.606bdep-3f, 0x1.74641cp-3f, 0x1.5aec18p-2f, -0x1.5bae2ap-2f, -0x1.aceceap-5f, -0x1.8f14bp-3f,
    -0x1.5677ap-5f, 0x1.1ab3d6p-2f, 0x1.f85652p-4f, -0x1.1eb6fcp-3f, 0x1.54df86p-4f, -0x1.df6d56p-7f, -0x1.7db028p-2f,
    -0x1.133bb8p-4f, -0x1.a41608p-3f, -0x1.45ee4p-1f, -0x1.8f2382p-2f, -0x1.25470ep-3f, -0x1.da5eep-2f,
    -0x1.8c44f2p-3f, -0x1.05ed7p-1f, -0x1.e6b912p-6f, -0x1.0c1224p-1f, -0x1.2e8c8p-7f, -0x1.f78d1ep-2f,
    -0x1.1bb184p-2f, -0x1.08d16ap-1f, -0x1.026bc6p-3f, -0x1.fceb12p-2f, -0x1.85ed78p-5f, -0x1.b3d26ep-6f,
    -0x1.ac98d8p-3f, 0x1.94d722p-3f, -0x1.53cc1p-4f, 0x1.66413ep-2f, -0x1.922ab4p-5f, -0x1.7944d6p-3f, 0x1.012542p-2f,
    0x1.04d058p-3f, -0x1.029caap-4f, 0x1.632d28p-5f, -0x1.15b59ep-1f, -0x1.f90932p-2f, -0x1.f6b338p-3f,
    -0x1.e6809ap-3f, -0x1.37bdaap-1f, -0x1.9bb1ap-2f, -0x1.128204p-1f, -0x1.0cf53p-1f, -0x1.0acd3cp-1f,
    -0x1.3ccbe4p-2f, 0x1.20abe6p-10f, 0x1.9fb12p-3f, 0x1.20bddcp-1f, -0x1.31e6a6p-5f, 0x1.17e3b2p-1f, 0x1.306d4cp-3f,
    -0x1.eff224p-8f, 0x1.5b7ce4p-2f, 0x1.42cb42p-3f, 0x1.774374p-2f, -0x1.11f018p-3f, 0x1.9a796ep-3f, -0x1.cfffc8p-3f,
    -0x1.ea20cap-4f, 0x1.2f0b54p-4f, -0x1.db42b6p-4f, 0x1.355fcp-2f, 0x1.3dea28p-5f, 0x1.07d5aap-2f, 0x1.2086c4p-1f,
    0x1.c21b52p-2f, 0x1.20bc76p-1f, 0x1.08733p-2f, 0x1.b4b0d6p-2f, -0x1.7d9338p-3f, 0x1.ff97e8p-7f, 0x1.d71378p-6f,
    -0x1.67766ap-5f, 0x1.5e839cp-2f, 0x1.16e44p-1f, 0x1.3b4c86p-3f, 0x1.629cbap-1f, 0x1.38a59ap-1f, 0x1.1b6554p-2f,
    0x1.3bf86cp-1f, 0x1.1ba956p-1f, 0x1.f192b2p-2f, 0x1.459a1ap-3f, 0x1.7708eep-1f, 0x1.c81p-2f, 0x1.ac7be2p-2f,
    0x1.214828p-1f, 0x1.39c8e2p-4f, 0x1.2b4f8ep-2f, -0x1.5069f6p-3f, 0x1.0a35fcp-2f, -0x1.572f04p-3f, 0x1.dfd8fep-3f,
    -0x1.b8432ep-6f, 0x1.665388p-4f, 0x1.e460ccp-1f, 0x1.f510aep-2f, 0x1.442402p-1f, 0x1.5c5914p-2f, 0x1.8ca05ap-2f,
    0x1.958512p-4f, -0x1.df5c6ep-5f, -0x1.0b34b6p-6f, -0x1.dc363p-5f, 0x1.97c6a2p-3f, -0x1.72a134p-2f, -0x1.9e54d8p-2f,
    -0x1.98f044p-2f, -0x1.cec964p-3f, 0x1.69918cp-3f, -0x1.bf6efep-3f, 0x1.171a7p-6f, -0x1.77580ep-4f, -0x1.7d87ap-6f,
    -0x1.3c80bp-6f, -0x1.f7846ep-4f, -0x1.12ba9ap-3f, 0x1.13ba3cp-1f, 0x1.1d73aep-1f, 0x1.fd62b6p-4f, 0x1.49844ep-2f,
    0x1.b3fddep-2f, 0x1.3c10acp-3f, 0x1.5a0ae6p-2f, 0x1.2e7966p-2f, 0x1.cd345p-2f, 0x1.5d71b6p-3f, 0x1.3d90cp-2f,
    0x1.066ebep-4f,
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
  static constexpr int size_of_input_temperature = 1;
  static constexpr int size_of_output_forecast = 12;
  static constexpr int state_size = 16;
  // Of the signal whose samples the steps are, in Hz (0: not said); samples that the output is behind.
  static constexpr double sample_rate = 0.0;
  static constexpr int latency = 0;

  // One time step. No array of outputs may overlap another array.
  void step(const float* input_temperature, float* output_forecast) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    run(input_temperature, output_forecast);
  }

  // So many of them, one after the other in the arrays.
  void process(const float* input_temperature, float* output_forecast, int steps) noexcept {
    const runtime::FlushDenormalsBriefly flush;
    for (int step = 0; step < steps; ++step) run(input_temperature + step * 1, output_forecast + step * 12);
  }

  // The beginning of a sequence.
  void reset() noexcept { *this = Model(); }

  // The states, state_size floats in the order of a rekur::Stream's.
  void get_state(float* state) const noexcept {
    copy<16>(layer_gru_h_, state + 0);
    static_cast<void>(state);
  }
  void set_state(const float* state) noexcept {
    copy<16>(state + 0, layer_gru_h_);
    static_cast<void>(state);
  }

 private:
  REKUR_NOINLINE void run(const float* input_temperature, float* output_forecast) noexcept {
    alignas(64) float y2[16];
    alignas(64) float y8[32];
    alignas(64) float y9[16];
    alignas(64) float y10[16];
    alignas(64) float x1[16] = {};
    copy<1>(input_temperature, x1);
    map<1>(x1, y2, [](Vec v) REKUR_INLINED { return fma(v, set1(0x1.99999ap-4f), set1(-0x1.333334p0f)); });
    using Groups5 = PanelGroups<16, 6>;
    alignas(64) float t6[16];
    each_group<Groups5>([&](auto g, int i) REKUR_INLINED {
      constexpr int N = decltype(g)::count;
      Vec x3[3 * N];
      panel_sums<1, 48, 0, 16, 32>(g, y2, weights::layer_gru_kernel, weights::layer_gru_bias, i, x3);
      Vec h4[3 * N];
      step_sums<16, 48, 0, 16, 32>(g, layer_gru_h_, weights::layer_gru_recurrent_kernel, weights::layer_gru_recurrent_bias, i, h4);
      Vec v7_0[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_0[p] = x3[0 * N + p];
      Vec v7_1[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_1[p] = x3[1 * N + p];
      Vec v7_2[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_2[p] = x3[2 * N + p];
      Vec v7_3[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_3[p] = h4[0 * N + p];
      Vec v7_4[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_4[p] = h4[1 * N + p];
      Vec v7_5[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_5[p] = h4[2 * N + p];
      Vec v7_6[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_6[p] = load(layer_gru_h_ + i + p * kWidth);
      Vec v7_7[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_7[p] = v7_0[p] + v7_3[p];
      Vec v7_8[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_8[p] = activation<ActivationKind::sigmoid>(Activation{ActivationKind::sigmoid, 0.0f, 0.0f}, v7_7[p]);
      Vec v7_9[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_9[p] = v7_1[p] + v7_4[p];
      Vec v7_10[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_10[p] = activation<ActivationKind::sigmoid>(Activation{ActivationKind::sigmoid, 0.0f, 0.0f}, v7_9[p]);
      Vec v7_11[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_11[p] = v7_10[p] * v7_5[p];
      Vec v7_12[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_12[p] = v7_2[p] + v7_11[p];
      Vec v7_13[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_13[p] = activation<ActivationKind::tanh>(Activation{ActivationKind::tanh, 0.0f, 0.0f}, v7_12[p]);
      Vec v7_14[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_14[p] = v7_6[p] - v7_13[p];
      Vec v7_15[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_15[p] = v7_8[p] * v7_14[p];
      Vec v7_16[N];
      REKUR_UNROLL for (int p = 0; p < N; ++p) v7_16[p] = v7_13[p] + v7_15[p];
      REKUR_UNROLL for (int p = 0; p < N; ++p) store((Groups5::one ? layer_gru_h_ : t6) + i + p * kWidth, v7_16[p]);
    });
    if constexpr (!Groups5::one) map<16>(t6, layer_gru_h_, [](Vec v) REKUR_INLINED { return v; });
    fill<17>(0.0f, y8);
    copy<16>(layer_gru_h_ + 0, y8 + 0);
    copy<1>(y2 + 0, y8 + 16);
    product<17, 12, 12, 0>(y8, weights::layer_head_kernel, weights::layer_head_bias, y9);
    map<12>(y9, y10, [](Vec v) REKUR_INLINED { return fma(v, set1(0x1.4p3f), set1(0x1.8p3f)); });
    copy<12>(y10, output_forecast);
  }

  alignas(64) float layer_gru_h_[16] = {};
};

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur

using rekur::REKUR_SIMD_NAMESPACE::Model;

}  // inline namespace REKUR_STATIC_ISA
}  // namespace forecaster_static

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
