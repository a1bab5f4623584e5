// A CLAP host as far as this plug-in needs one.
#include "checks.hpp"
#include "clap_abi.h"
#include "hosts.hpp"
#include "quiet.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace host {
namespace {

class Clap final : public Plugin {
 public:
  Clap(const clap_plugin_factory_t* factory, const std::string& id, int channel_count, double rate)
      : Plugin(channel_count), rate_(rate) {
    host_.clap_version = {1, 2, 0};
    host_.host_data = this;
    host_.name = "amp_host";
    host_.vendor = host_.url = "";
    host_.version = "1";
    host_.get_extension = [](const clap_host_t*, const char* name) -> const void* {
      const std::string_view wanted = name;
      static const clap_host_log_t log = {
          [](const clap_host_t* host, std::int32_t, const char* text) { of(host).told.push_back(text); }};
      static const clap_host_latency_t latency = {
          [](const clap_host_t* host) { expect(of(host).activating_, "a latency changes outside activate"); }};
      static const clap_host_preset_load_t presets = {
          [](const clap_host_t*, std::uint32_t, const char*, const char*, std::int32_t, const char*) {},
          [](const clap_host_t* host, std::uint32_t, const char* location, const char*) { of(host).model_ = location; }};
      if (wanted == CLAP_EXT_LOG) return &log;
      if (wanted == CLAP_EXT_LATENCY) return &latency;
      if (wanted == CLAP_EXT_PRESET_LOAD) return &presets;
      return nullptr;
    };
    host_.request_restart = [](const clap_host_t* host) { of(host).restart = true; };
    host_.request_process = [](const clap_host_t*) {};
    host_.request_callback = [](const clap_host_t* host) { of(host).callback_ = true; };
    plugin_ = factory->create_plugin(factory, &host_, id.c_str());
    if (plugin_ == nullptr || !plugin_->init(plugin_)) throw std::runtime_error("the plug-in cannot be made");
    params_ = extension<clap_plugin_params_t>(CLAP_EXT_PARAMS);
    state_ = extension<clap_plugin_state_t>(CLAP_EXT_STATE);
    latency_ = extension<clap_plugin_latency_t>(CLAP_EXT_LATENCY);
    presets_ = extension<clap_plugin_preset_load_t>(CLAP_EXT_PRESET_LOAD);
    const auto* ports = extension<clap_plugin_audio_ports_t>(CLAP_EXT_AUDIO_PORTS);
    clap_audio_port_info_t port;
    for (const bool input : {true, false})
      if (ports->count(plugin_, input) != 1 || !ports->get(plugin_, 0, input, &port) || ports->get(plugin_, 1, input, &port) ||
          port.channel_count != static_cast<std::uint32_t>(channels))
        throw std::runtime_error("the plug-in has other ports than its name says");
    check_parameters();
  }
  ~Clap() override {
    deactivate();
    plugin_->destroy(plugin_);
  }

  void activate() override {
    if (std::exchange(active_, true)) return;
    activating_ = true;
    if (!plugin_->activate(plugin_, rate_, 1, 1 << 20) || !plugin_->start_processing(plugin_))
      throw std::runtime_error("the plug-in cannot be activated");
    activating_ = false;
    restart = false;
  }
  void deactivate() override {
    if (!std::exchange(active_, false)) return;
    plugin_->stop_processing(plugin_);
    plugin_->deactivate(plugin_);
  }
  void load(const std::string& path) override {
    presets_->from_location(plugin_, CLAP_PRESET_DISCOVERY_LOCATION_FILE, path.c_str(), nullptr);
  }
  void attend() override {
    if (lied_ && !std::exchange(told_of_lie_, true)) expect(false, "a channel that changes is said to be constant");
    if (callback_.exchange(false)) plugin_->on_main_thread(plugin_);
  }

  // In pieces of a few bytes, as a host may take and give them.
  std::string save() override {
    std::string state;
    const clap_ostream_t stream = {&state, [](const clap_ostream_t* me, const void* data, std::uint64_t size) {
                                     const auto taken = std::min<std::uint64_t>(size, 7);
                                     static_cast<std::string*>(me->ctx)->append(static_cast<const char*>(data), taken);
                                     return static_cast<std::int64_t>(taken);
                                   }};
    if (!state_->save(plugin_, &stream)) throw std::runtime_error("the plug-in cannot save its state");
    return state;
  }
  void restore(const std::string& state) override {
    std::string_view left = state;
    const clap_istream_t stream = {&left, [](const clap_istream_t* me, void* data, std::uint64_t size) {
                                     auto& rest = *static_cast<std::string_view*>(me->ctx);
                                     const std::size_t given = std::min<std::size_t>({rest.size(), size, 11});
                                     std::memcpy(data, rest.data(), given);
                                     rest.remove_prefix(given);
                                     return static_cast<std::int64_t>(given);
                                   }};
    if (!state_->load(plugin_, &stream)) throw std::runtime_error("the plug-in cannot load its state");
    // CLAP has no way to ask for the file: it is what the state says.
    const std::size_t at = state.find("\nmodel ");
    model_ = at == std::string::npos ? "" : state.substr(at + 7, state.size() - at - 8);
  }
  int latency() override { return static_cast<int>(latency_->get(plugin_)); }
  std::string model() override { return model_; }

  bool set_at(amp::Parameter parameter, float value, unsigned frame) noexcept override {
    if (event_count_ == events_.size()) return false;
    clap_event_param_value_t& event = events_[event_count_++];
    event = {};
    event.header = {sizeof event, frame, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0};
    event.param_id = parameter;
    event.note_id = -1;
    event.port_index = event.channel = event.key = -1;
    event.value = parameter == amp::enabled ? 1 - value : value;  // a bypass
    return true;
  }
  void set(amp::Parameter parameter, float value) noexcept override {
    if (active_)
      set_at(parameter, value, 0);
    else {
      const std::size_t before = std::exchange(event_count_, 0);
      set_at(parameter, value, 0);
      params_->flush(plugin_, &in_, &out_);
      event_count_ = before;
    }
  }
  void process(const float* const* in, float* const* out, int frames) noexcept override {
    clap_audio_buffer_t input{}, output{};
    input.data32 = const_cast<float**>(in);
    output.data32 = const_cast<float**>(out);
    input.channel_count = output.channel_count = static_cast<std::uint32_t>(channels);
    for (int c = 0; c < channels; ++c) input.constant_mask |= std::uint64_t{is_constant(in[c], frames)} << c;
    output.constant_mask = ~std::uint64_t{0};  // what a plug-in that does not write it would say
    clap_process_t block{};
    block.steady_time = -1;
    block.frames_count = static_cast<std::uint32_t>(frames);
    block.audio_inputs = &input;
    block.audio_outputs = &output;
    block.audio_inputs_count = block.audio_outputs_count = 1;
    block.in_events = &in_;
    block.out_events = &out_;
    const quiet::Quiet quiet;
    if (plugin_->process(plugin_, &block) == CLAP_PROCESS_ERROR)
      for (int c = 0; c < channels; ++c) std::fill_n(out[c], frames, 0.0F);
    else
      for (int c = 0; c < channels; ++c)
        if ((output.constant_mask >> c & 1) != 0 && !is_constant(out[c], frames)) lied_ = true;
    event_count_ = 0;
  }

 private:
  static bool is_constant(const float* samples, int frames) noexcept {
    return std::all_of(samples, samples + frames, [=](float sample) { return sample == samples[0]; });
  }
  static Clap& of(const clap_host_t* host) { return *static_cast<Clap*>(host->host_data); }

  template <class Extension>
  const Extension* extension(const char* id) const {
    const auto* found = static_cast<const Extension*>(plugin_->get_extension(plugin_, id));
    if (found == nullptr) throw std::runtime_error(std::string("the plug-in has no ") + id);
    return found;
  }
  // What hosts show: within the range, and back from its text.
  void check_parameters() const {
    clap_param_info_t info;
    if (params_->count(plugin_) != amp::parameter_count || params_->get_info(plugin_, amp::parameter_count, &info))
      throw std::runtime_error("the plug-in has another number of parameters");
    for (std::uint32_t p = 0; p < amp::parameter_count; ++p) {
      double value = 0, back = 0;
      char text[64];
      if (!params_->get_info(plugin_, p, &info) || !params_->get_value(plugin_, info.id, &value) || value != info.default_value ||
          !(info.min_value <= value && value <= info.max_value) || *info.name == '\0' ||
          !params_->value_to_text(plugin_, info.id, info.max_value, text, sizeof text) ||
          !params_->text_to_value(plugin_, info.id, text, &back) || std::abs(back - info.max_value) > 0.01 ||
          params_->text_to_value(plugin_, info.id, "loud", &back))
        throw std::runtime_error("parameter " + std::to_string(p) + " of the plug-in is not in order");
    }
  }

  const double rate_;
  clap_host_t host_{};
  const clap_plugin_t* plugin_ = nullptr;
  const clap_plugin_params_t* params_ = nullptr;
  const clap_plugin_state_t* state_ = nullptr;
  const clap_plugin_latency_t* latency_ = nullptr;
  const clap_plugin_preset_load_t* presets_ = nullptr;
  std::array<clap_event_param_value_t, 16> events_{};
  std::size_t event_count_ = 0;
  const clap_input_events_t in_ = {
      this, [](const clap_input_events_t* me) { return static_cast<std::uint32_t>(static_cast<Clap*>(me->ctx)->event_count_); },
      [](const clap_input_events_t* me, std::uint32_t index) -> const clap_event_header_t* {
        return &static_cast<Clap*>(me->ctx)->events_[index].header;
      }};
  const clap_output_events_t out_ = {nullptr, [](const clap_output_events_t*, const clap_event_header_t*) { return true; }};
  std::atomic<bool> callback_{false};
  std::atomic<bool> lied_{false};  // in the audio thread, of the output's constant_mask
  bool told_of_lie_ = false;
  std::string model_;
  bool active_ = false, activating_ = false;
};

}  // namespace

std::unique_ptr<Plugin> open_clap(const std::string& file, int channels, double rate) {
  const auto* entry = static_cast<const clap_plugin_entry_t*>(symbol_of(file, "clap_entry"));
  if (!entry->init(file.c_str())) throw std::runtime_error(file + " cannot be made ready");
  const auto* factory = static_cast<const clap_plugin_factory_t*>(entry->get_factory(CLAP_PLUGIN_FACTORY_ID));
  if (factory == nullptr) throw std::runtime_error(file + " has no plug-ins");
  return std::make_unique<Clap>(factory, std::string(AMP_ID) + (channels == 1 ? ".mono" : ".stereo"), channels, rate);
}

}  // namespace host
