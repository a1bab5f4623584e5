// The effect as an LV2 plug-in. Which model: the property AMP_URI:model, which a host sets by patch:Set and keeps by the state
// extension; before that amp.safetensors in the bundle. A host without urid:map and worker:schedule, such as lv2apply, gets that
// one.
#include "amp.hpp"
#include "lv2_ports.hpp"

#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/core/lv2.h>
#include <lv2/log/log.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>

namespace {

using namespace amp::lv2;

constexpr std::size_t kLongestPath = 4096;

struct Plugin {
  Plugin(int channel_count, const LV2_Feature* const* features) : channels(channel_count), effect(channel_count) {
    for (; *features != nullptr; ++features) {
      const std::string_view uri = (*features)->URI;
      if (uri == LV2_URID__map) map = static_cast<LV2_URID_Map*>((*features)->data);
      if (uri == LV2_WORKER__schedule) worker = static_cast<LV2_Worker_Schedule*>((*features)->data);
      if (uri == LV2_LOG__log) log = static_cast<LV2_Log_Log*>((*features)->data);
    }
    if (map == nullptr) return;
    const auto id = [&](const char* uri) { return map->map(map->handle, uri); };
    atom_path = id(LV2_ATOM__Path), atom_urid = id(LV2_ATOM__URID), model = id(kModelUri);
    patch_set = id(LV2_PATCH__Set), patch_get = id(LV2_PATCH__Get);
    patch_property = id(LV2_PATCH__property), patch_value = id(LV2_PATCH__value);
    log_warning = id(LV2_LOG__Warning);
    lv2_atom_forge_init(&forge, map);
  }

  // Not in the audio thread.
  void say(const std::string& text) {
    if (text.empty()) return;
    if (log != nullptr && map != nullptr)
      log->printf(log->handle, log_warning, "%s: %s\n", AMP_NAME, text.c_str());
    else
      std::fprintf(stderr, "%s: %s\n", AMP_NAME, text.c_str());
  }
  void load(const std::string& path) {
    effect.load(path);
    say(effect.message());
  }
  // What the audio thread tells the host of. The worker answers in that thread, and the state is restored while it stands still.
  void show(const char* path, std::size_t size) noexcept {
    if (size > kLongestPath) return;
    std::memcpy(shown.data(), path, size);
    shown_size = size;
    tell = true;
  }

  int channels;
  double rate = 0;
  amp::Amp effect;
  std::array<float*, first_audio + 4> ports{};
  const LV2_Atom_Sequence* from_host = nullptr;
  LV2_Atom_Sequence* to_host = nullptr;

  LV2_URID_Map* map = nullptr;
  LV2_Worker_Schedule* worker = nullptr;
  LV2_Log_Log* log = nullptr;
  LV2_URID atom_path = 0, atom_urid = 0, model = 0, patch_set = 0, patch_get = 0, patch_property = 0, patch_value = 0,
           log_warning = 0;
  LV2_Atom_Forge forge{};

  bool tell = false;      // the host is to hear which model it is
  bool sweeping = false;  // the worker has been asked to free what is done with
  unsigned troubles = 0;  // that the worker has been asked to tell
  std::array<char, kLongestPath> shown{};
  std::size_t shown_size = 0;
};

Plugin& of(LV2_Handle instance) { return *static_cast<Plugin*>(instance); }

LV2_Handle instantiate(const LV2_Descriptor* descriptor, double rate, const char* bundle, const LV2_Feature* const* features) try {
  auto plugin = std::make_unique<Plugin>(std::strcmp(descriptor->URI, kUri[0]) == 0 ? 1 : 2, features);
  plugin->rate = rate;
  plugin->effect.activate(rate);
  const std::string path = std::string(bundle) + (std::string_view(bundle).ends_with('/') ? "" : "/") + "amp.safetensors";
  plugin->load(path);
  const std::string used = plugin->effect.path();  // of the model that runs, if one does
  plugin->show(used.c_str(), used.size() + 1);
  return plugin.release();
} catch (const std::bad_alloc&) {
  return nullptr;
}

void cleanup(LV2_Handle instance) { delete &of(instance); }

void connect_port(LV2_Handle instance, std::uint32_t port, void* data) {
  Plugin& plugin = of(instance);
  if (port == control)
    plugin.from_host = static_cast<const LV2_Atom_Sequence*>(data);
  else if (port == notify)
    plugin.to_host = static_cast<LV2_Atom_Sequence*>(data);
  else if (port < plugin.ports.size())
    plugin.ports[port] = static_cast<float*>(data);
}

void activate(LV2_Handle instance) { of(instance).effect.activate(of(instance).rate); }

// --- in the audio thread ---

// What the worker is asked: "L" and a path; "C", free what is done with; "W", and troubles are told.
// False: the worker's queue is full, or there is none.
bool ask(Plugin& plugin, const void* question, std::size_t size) noexcept {
  return plugin.worker != nullptr &&
         plugin.worker->schedule_work(plugin.worker->handle, static_cast<std::uint32_t>(size), question) == LV2_WORKER_SUCCESS;
}

void hear(Plugin& plugin) noexcept {
  if (plugin.map == nullptr || plugin.from_host == nullptr) return;
  LV2_ATOM_SEQUENCE_FOREACH(plugin.from_host, event) {
    if (!lv2_atom_forge_is_object_type(&plugin.forge, event->body.type)) continue;
    const auto* message = reinterpret_cast<const LV2_Atom_Object*>(&event->body);
    if (message->body.otype == plugin.patch_get) plugin.tell = true;
    if (message->body.otype != plugin.patch_set) continue;
    const LV2_Atom *property = nullptr, *value = nullptr;
    lv2_atom_object_get(message, plugin.patch_property, &property, plugin.patch_value, &value, 0);
    if (property == nullptr || property->type != plugin.atom_urid || value == nullptr || value->type != plugin.atom_path) continue;
    if (reinterpret_cast<const LV2_Atom_URID*>(property)->body != plugin.model) continue;
    std::array<char, 1 + kLongestPath> question;
    if (value->size == 0 || value->size > kLongestPath) continue;
    question[0] = 'L';
    std::memcpy(&question[1], value + 1, value->size);
    ask(plugin, question.data(), 1 + value->size);
  }
}

void answer(Plugin& plugin) noexcept {
  if (plugin.map == nullptr || plugin.to_host == nullptr) return;
  LV2_Atom_Forge& forge = plugin.forge;
  const std::uint32_t room = plugin.to_host->atom.size;
  lv2_atom_forge_set_buffer(&forge, reinterpret_cast<std::uint8_t*>(plugin.to_host), room);
  LV2_Atom_Forge_Frame sequence, object;
  lv2_atom_forge_sequence_head(&forge, &sequence, 0);
  if (plugin.tell && room >= plugin.shown_size + 256) {
    lv2_atom_forge_frame_time(&forge, 0);
    lv2_atom_forge_object(&forge, &object, 0, plugin.patch_set);
    lv2_atom_forge_key(&forge, plugin.patch_property);
    lv2_atom_forge_urid(&forge, plugin.model);
    lv2_atom_forge_key(&forge, plugin.patch_value);
    lv2_atom_forge_path(&forge, plugin.shown.data(), static_cast<std::uint32_t>(plugin.shown_size - 1));
    lv2_atom_forge_pop(&forge, &object);
    plugin.tell = false;
  }
  lv2_atom_forge_pop(&forge, &sequence);
}

void run(LV2_Handle instance, std::uint32_t frames) {
  Plugin& plugin = of(instance);
  hear(plugin);
  for (unsigned p = 0; p < amp::parameter_count; ++p)
    if (const float* value = plugin.ports[first_parameter + p]) plugin.effect.set(amp::Parameter{p}, *value);
  float** audio = &plugin.ports[first_audio];
  plugin.effect.process(audio, audio + plugin.channels, static_cast<int>(frames));
  if (float* port = plugin.ports[latency]) *port = static_cast<float>(plugin.effect.latency());
  if (plugin.effect.garbage() && !plugin.sweeping) {
    plugin.sweeping = true;  // before it is asked: a host that does not play live answers at once
    if (!ask(plugin, "C", 1)) plugin.sweeping = false;
  }
  if (const unsigned troubles = plugin.effect.troubles(); troubles != plugin.troubles && ask(plugin, "W", 1))
    plugin.troubles = troubles;
  answer(plugin);
}

LV2_Worker_Status work_response(LV2_Handle instance, std::uint32_t size, const void* body) {
  Plugin& plugin = of(instance);
  const char* answered = static_cast<const char*>(body);
  if (answered[0] == 'C') plugin.sweeping = false;
  if (answered[0] == 'L') plugin.show(answered + 1, size - 1);
  return LV2_WORKER_SUCCESS;
}

// --- the worker ---

LV2_Worker_Status work(LV2_Handle instance, LV2_Worker_Respond_Function respond, LV2_Worker_Respond_Handle handle,
                       std::uint32_t size, const void* data) try {
  Plugin& plugin = of(instance);
  const char* question = static_cast<const char*>(data);
  std::string answered(1, question[0]);
  if (question[0] == 'C') plugin.effect.collect();
  if (question[0] == 'W') plugin.say("the model gave numbers that are none and was begun anew");
  if (question[0] == 'L') {
    const std::string_view path(question + 1, size - 1);
    plugin.load(std::string(path.substr(0, path.find('\0'))));
    answered += plugin.effect.path() + '\0';  // of the model that runs, whether or not it is the one asked for
  }
  return respond(handle, static_cast<std::uint32_t>(answered.size()), answered.data());
} catch (const std::bad_alloc&) {
  return LV2_WORKER_ERR_NO_SPACE;
}

// --- the state ---

const void* feature(const LV2_Feature* const* features, const char* uri) {
  for (; features != nullptr && *features != nullptr; ++features)
    if (std::strcmp((*features)->URI, uri) == 0) return (*features)->data;
  return nullptr;
}

struct Paths {  // what the host calls a file in a state
  explicit Paths(const LV2_Feature* const* features)
      : map(static_cast<const LV2_State_Map_Path*>(feature(features, LV2_STATE__mapPath))),
        free(static_cast<const LV2_State_Free_Path*>(feature(features, LV2_STATE__freePath))) {}

  std::string taken(char* text) const {
    const std::string copy = text != nullptr ? text : "";
    if (free != nullptr)
      free->free_path(free->handle, text);
    else
      std::free(text);
    return copy;
  }
  std::string abstract(const std::string& path) const {
    return map != nullptr ? taken(map->abstract_path(map->handle, path.c_str())) : path;
  }
  std::string absolute(const std::string& path) const {
    return map != nullptr ? taken(map->absolute_path(map->handle, path.c_str())) : path;
  }

  const LV2_State_Map_Path* map;
  const LV2_State_Free_Path* free;
};

// The parameters are ports, whose values hosts keep by themselves.
LV2_State_Status save(LV2_Handle instance, LV2_State_Store_Function store, LV2_State_Handle handle, std::uint32_t,
                      const LV2_Feature* const* features) try {
  Plugin& plugin = of(instance);
  if (plugin.map == nullptr) return LV2_STATE_ERR_NO_FEATURE;
  const std::string path = Paths(features).abstract(plugin.effect.path());
  if (path.empty()) return LV2_STATE_SUCCESS;
  return store(handle, plugin.model, path.c_str(), path.size() + 1, plugin.atom_path, LV2_STATE_IS_POD);
} catch (const std::bad_alloc&) {
  return LV2_STATE_ERR_NO_SPACE;
}

LV2_State_Status restore(LV2_Handle instance, LV2_State_Retrieve_Function retrieve, LV2_State_Handle handle, std::uint32_t,
                         const LV2_Feature* const* features) try {
  Plugin& plugin = of(instance);
  if (plugin.map == nullptr) return LV2_STATE_ERR_NO_FEATURE;
  std::size_t size = 0;
  std::uint32_t type = 0, flags = 0;
  const void* value = retrieve(handle, plugin.model, &size, &type, &flags);
  if (value == nullptr || size == 0) return LV2_STATE_ERR_NO_PROPERTY;
  if (type != plugin.atom_path) return LV2_STATE_ERR_BAD_TYPE;
  plugin.load(Paths(features).absolute(std::string(static_cast<const char*>(value), size - 1)));
  const std::string path = plugin.effect.path();
  plugin.show(path.c_str(), path.size() + 1);
  return LV2_STATE_SUCCESS;
} catch (const std::bad_alloc&) {
  return LV2_STATE_ERR_NO_SPACE;
}

const void* extension_data(const char* uri) {
  static const LV2_State_Interface state{save, restore};
  static const LV2_Worker_Interface worker{work, work_response, nullptr};
  if (std::strcmp(uri, LV2_STATE__interface) == 0) return &state;
  if (std::strcmp(uri, LV2_WORKER__interface) == 0) return &worker;
  return nullptr;
}

constexpr LV2_Descriptor describe(const char* uri) {
  return {uri, instantiate, connect_port, activate, run, nullptr, cleanup, extension_data};
}

}  // namespace

LV2_SYMBOL_EXPORT const LV2_Descriptor* lv2_descriptor(std::uint32_t index) {
  static const LV2_Descriptor descriptors[] = {describe(kUri[0]), describe(kUri[1])};
  return index < 2 ? &descriptors[index] : nullptr;
}
