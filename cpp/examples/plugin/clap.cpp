// The effect as a CLAP plug-in. Which model: the one of the state; a host that loads presets gives it any file by the extension
// preset-load; before that the file that the environment's REKUR_AMP_MODEL names, or amp.safetensors beside the plug-in.
#include "amp.hpp"
#include "clap_abi.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

namespace {

std::string beside;  // the folder of the plug-in, with a slash: set by init of the entry, before anything else is called

const char* const kFeatures[2][4] = {{"audio-effect", "distortion", "mono", nullptr},
                                     {"audio-effect", "distortion", "stereo", nullptr}};
constexpr clap_version_t kVersion = {1, 2, 0};
const clap_plugin_descriptor_t kDescriptors[2] = {{kVersion, AMP_ID ".mono", AMP_NAME " (mono)", AMP_VENDOR, "", "", "",
                                                   AMP_VERSION, "An amplifier learnt by a network", kFeatures[0]},
                                                  {kVersion, AMP_ID ".stereo", AMP_NAME " (stereo)", AMP_VENDOR, "", "", "",
                                                   AMP_VERSION, "An amplifier learnt by a network", kFeatures[1]}};

struct Plugin {
  Plugin(const clap_host_t* its_host, int channel_count);

  template <class Extension>
  const Extension* ask(const char* id) const {
    return static_cast<const Extension*>(host->get_extension(host, id));
  }
  // In the main thread.
  void say(const std::string& text) const {
    if (text.empty()) return;
    if (const auto* log = ask<clap_host_log_t>(CLAP_EXT_LOG))
      log->log(host, CLAP_LOG_WARNING, text.c_str());
    else
      std::fprintf(stderr, "%s: %s\n", AMP_NAME, text.c_str());
  }
  void loaded() {
    say(effect.message());
    if (active && effect.loaded_latency() != reported) host->request_restart(host);  // a latency changes within activate alone
  }

  const clap_host_t* host;
  int channels;
  amp::Amp effect;
  clap_plugin_t face{};
  bool active = false;
  int reported = 0;                   // the latency that the host knows
  unsigned troubles = 0;              // that the audio thread has asked the main thread to tell,
  unsigned troubles_told = 0;         // and those that it has told
  std::atomic<bool> sweeping{false};  // it has been asked to free what is done with
};

Plugin& of(const clap_plugin_t* plugin) { return *static_cast<Plugin*>(plugin->plugin_data); }

// --- parameters: those of the effect, but that CLAP has a bypass where the effect is enabled ---

double shown(unsigned p, double value) { return p == amp::enabled ? 1 - value : value; }

void hear(Plugin& plugin, const clap_event_header_t* event) noexcept {
  if (event->space_id != CLAP_CORE_EVENT_SPACE_ID || event->type != CLAP_EVENT_PARAM_VALUE) return;
  const auto* set = reinterpret_cast<const clap_event_param_value_t*>(event);
  if (set->param_id < amp::parameter_count)
    plugin.effect.set(amp::Parameter{set->param_id}, static_cast<float>(shown(set->param_id, set->value)));
}

const clap_plugin_params_t kParams = {[](const clap_plugin_t*) -> std::uint32_t { return amp::parameter_count; },
                                      [](const clap_plugin_t*, std::uint32_t index, clap_param_info_t* info) {
                                        if (index >= amp::parameter_count) return false;
                                        const amp::ParameterInfo& parameter = amp::kParameters[index];
                                        *info = {};
                                        info->id = index;
                                        info->flags = CLAP_PARAM_IS_AUTOMATABLE;
                                        if (index == amp::enabled) info->flags |= CLAP_PARAM_IS_STEPPED | CLAP_PARAM_IS_BYPASS;
                                        std::snprintf(info->name, sizeof info->name, "%s",
                                                      index == amp::enabled ? "Bypass" : parameter.name);
                                        info->min_value = parameter.least;
                                        info->max_value = parameter.most;
                                        info->default_value = shown(index, parameter.usual);
                                        return true;
                                      },
                                      [](const clap_plugin_t* plugin, clap_id id, double* value) {
                                        if (id >= amp::parameter_count) return false;
                                        *value = shown(id, of(plugin).effect.get(amp::Parameter{id}));
                                        return true;
                                      },
                                      [](const clap_plugin_t*, clap_id id, double value, char* text, std::uint32_t size) {
                                        if (id >= amp::parameter_count) return false;
                                        if (id == amp::enabled)
                                          return std::snprintf(text, size, "%s", value >= 0.5 ? "on" : "off") > 0;
                                        const char* const unit = amp::kParameters[id].unit;
                                        return std::snprintf(text, size, "%.2f%s%s", value, *unit != '\0' ? " " : "", unit) > 0;
                                      },
                                      [](const clap_plugin_t*, clap_id id, const char* text, double* value) {
                                        if (id >= amp::parameter_count) return false;
                                        if (id == amp::enabled && (std::strcmp(text, "on") == 0 || std::strcmp(text, "off") == 0))
                                          return *value = text[1] == 'n', true;
                                        char* end = nullptr;
                                        const double number = std::strtod(text, &end);
                                        if (end == text || !std::isfinite(number)) return false;
                                        *value = number;
                                        return true;
                                      },
                                      [](const clap_plugin_t* plugin, const clap_input_events_t* in, const clap_output_events_t*) {
                                        for (std::uint32_t i = 0; i < in->size(in); ++i) hear(of(plugin), in->get(in, i));
                                      }};

// --- the other extensions ---

const clap_plugin_audio_ports_t kAudioPorts = {
    [](const clap_plugin_t*, bool) -> std::uint32_t { return 1; },
    [](const clap_plugin_t* plugin, std::uint32_t index, bool is_input, clap_audio_port_info_t* info) {
      if (index != 0) return false;
      const int channels = of(plugin).channels;
      *info = {};
      std::snprintf(info->name, sizeof info->name, "%s", is_input ? "In" : "Out");
      info->flags = CLAP_AUDIO_PORT_IS_MAIN;
      info->channel_count = static_cast<std::uint32_t>(channels);
      info->port_type = channels == 1 ? CLAP_PORT_MONO : CLAP_PORT_STEREO;
      info->in_place_pair = 0;  // the same id: one array may be both
      return true;
    }};

const clap_plugin_latency_t kLatency = {
    [](const clap_plugin_t* plugin) { return static_cast<std::uint32_t>(of(plugin).reported); }};

const clap_plugin_state_t kState = {[](const clap_plugin_t* plugin, const clap_ostream_t* stream) {
                                      try {
                                        const std::string text = of(plugin).effect.save_state();
                                        for (std::size_t at = 0; at < text.size();) {
                                          const std::int64_t written = stream->write(stream, text.data() + at, text.size() - at);
                                          if (written <= 0) return false;
                                          at += static_cast<std::size_t>(written);
                                        }
                                        return true;
                                      } catch (const std::bad_alloc&) {
                                        return false;
                                      }
                                    },
                                    [](const clap_plugin_t* plugin, const clap_istream_t* stream) {
                                      try {
                                        std::string text;
                                        char piece[512];
                                        std::int64_t count = 0;
                                        while ((count = stream->read(stream, piece, sizeof piece)) > 0)
                                          text.append(piece, static_cast<std::size_t>(count));
                                        if (count < 0) return false;
                                        const bool good = of(plugin).effect.load_state(text);
                                        of(plugin).loaded();
                                        return good;
                                      } catch (const std::bad_alloc&) {
                                        return false;
                                      }
                                    }};

const clap_plugin_preset_load_t kPresetLoad = {
    [](const clap_plugin_t* plugin, std::uint32_t kind, const char* location, const char* key) {
      try {
        Plugin& self = of(plugin);
        if (kind != CLAP_PRESET_DISCOVERY_LOCATION_FILE || location == nullptr) return false;
        const bool good = self.effect.load(location);
        self.loaded();
        if (const auto* host = self.ask<clap_host_preset_load_t>(CLAP_EXT_PRESET_LOAD)) {
          if (good)
            host->loaded(self.host, kind, location, key);
          else
            host->on_error(self.host, kind, location, key, 0, self.effect.message().c_str());
        }
        return good;
      } catch (const std::bad_alloc&) {
        return false;
      }
    }};

// --- the plug-in ---

bool init(const clap_plugin_t* plugin) try {
  const char* const named = std::getenv("REKUR_AMP_MODEL");
  of(plugin).effect.load(named != nullptr ? named : beside + "amp.safetensors");
  of(plugin).loaded();
  return true;  // without a model the sound goes through
} catch (const std::bad_alloc&) {
  return false;
}

bool activate(const clap_plugin_t* plugin, double rate, std::uint32_t, std::uint32_t) try {
  Plugin& self = of(plugin);
  self.effect.activate(rate);  // where the model cannot be run at this rate the sound goes through
  self.active = true;
  self.say(self.effect.message());
  if (self.effect.latency() != self.reported) {
    self.reported = self.effect.latency();
    if (const auto* host = self.ask<clap_host_latency_t>(CLAP_EXT_LATENCY)) host->changed(self.host);
  }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

clap_process_status process(const clap_plugin_t* plugin, const clap_process_t* block) {
  Plugin& self = of(plugin);
  const auto channels = static_cast<std::uint32_t>(self.channels);
  if (block->audio_inputs_count < 1 || block->audio_outputs_count < 1 || block->audio_inputs[0].channel_count < channels ||
      block->audio_outputs[0].channel_count < channels || block->audio_inputs[0].data32 == nullptr ||
      block->audio_outputs[0].data32 == nullptr)
    return CLAP_PROCESS_ERROR;
  const clap_input_events_t* events = block->in_events;
  const std::uint32_t count = events != nullptr ? events->size(events) : 0, frames = block->frames_count;
  // From event to event: a parameter changes at its frame.
  std::uint32_t event = 0, at = 0;
  do {
    for (; event < count && (events->get(events, event)->time <= at || frames == 0); ++event)
      hear(self, events->get(events, event));
    const std::uint32_t until = event < count ? std::min(events->get(events, event)->time, frames) : frames;
    const float* in[2] = {};
    float* out[2] = {};
    for (std::uint32_t c = 0; c < channels; ++c) {
      in[c] = block->audio_inputs[0].data32[c] + at;
      out[c] = block->audio_outputs[0].data32[c] + at;
    }
    self.effect.process(in, out, static_cast<int>(until - at));
    at = until;
  } while (at < frames);
  for (; event < count; ++event) hear(self, events->get(events, event));  // of a frame past the end
  block->audio_outputs[0].constant_mask = 0;                              // a host may leave there what it knew of the block before
  const unsigned troubles = self.effect.troubles();
  if ((self.effect.garbage() && !self.sweeping.exchange(true)) || troubles != self.troubles) {
    self.troubles = troubles;
    self.host->request_callback(self.host);
  }
  return CLAP_PROCESS_CONTINUE;
}

void on_main_thread(const clap_plugin_t* plugin) {
  Plugin& self = of(plugin);
  self.effect.collect();
  self.sweeping = false;
  if (const unsigned troubles = self.effect.troubles(); troubles != self.troubles_told) {
    self.troubles_told = troubles;
    self.say("the model gave numbers that are none and was begun anew");
  }
}

const void* get_extension(const clap_plugin_t*, const char* id) {
  const std::string_view name = id;
  if (name == CLAP_EXT_AUDIO_PORTS) return &kAudioPorts;
  if (name == CLAP_EXT_PARAMS) return &kParams;
  if (name == CLAP_EXT_STATE) return &kState;
  if (name == CLAP_EXT_LATENCY) return &kLatency;
  if (name == CLAP_EXT_PRESET_LOAD) return &kPresetLoad;
  return nullptr;
}

Plugin::Plugin(const clap_host_t* its_host, int channel_count) : host(its_host), channels(channel_count), effect(channel_count) {
  face.desc = &kDescriptors[channels - 1];
  face.plugin_data = this;
  face.init = init;
  face.destroy = [](const clap_plugin_t* plugin) { delete &of(plugin); };
  face.activate = activate;
  face.deactivate = [](const clap_plugin_t* plugin) { of(plugin).active = false; };
  face.start_processing = [](const clap_plugin_t*) { return true; };
  face.stop_processing = [](const clap_plugin_t*) {};
  face.reset = [](const clap_plugin_t* plugin) { of(plugin).effect.reset(); };
  face.process = process;
  face.get_extension = get_extension;
  face.on_main_thread = on_main_thread;
}

const clap_plugin_factory_t kFactory = {
    [](const clap_plugin_factory_t*) -> std::uint32_t { return 2; },
    [](const clap_plugin_factory_t*, std::uint32_t index) { return index < 2 ? &kDescriptors[index] : nullptr; },
    [](const clap_plugin_factory_t*, const clap_host_t* host, const char* id) -> const clap_plugin_t* {
      try {
        for (int channels = 1; channels <= 2; ++channels)
          if (std::strcmp(id, kDescriptors[channels - 1].id) == 0) return &(new Plugin(host, channels))->face;
      } catch (const std::bad_alloc&) {
      }
      return nullptr;
    }};

bool enter(const char* path) try {
  const std::string_view file = path;
  beside = file.substr(0, file.find_last_of("/\\") + 1);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

const void* get_factory(const char* id) { return std::strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &kFactory : nullptr; }

}  // namespace

extern "C" CLAP_EXPORT const clap_plugin_entry_t clap_entry = {kVersion, enter, [] {}, get_factory};
