// Compiled where CLAP's own headers are: clap_abi.h says the same of every structure and every constant that is used.
#include <clap/clap.h>

#define AMP_OWN_CLAP
#include "clap_abi.h"

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace {

#define AMP_SIZE(type) static_assert(sizeof(type) == sizeof(clap_abi::type) && alignof(type) == alignof(clap_abi::type))
#define AMP_FIELD(type, field) \
  static_assert(offsetof(type, field) == offsetof(clap_abi::type, field) && sizeof(type::field) == sizeof(clap_abi::type::field))
#define AMP_SAME(name) static_assert(static_cast<long long>(name) == static_cast<long long>(clap_abi::name))
#define AMP_TEXT(name) static_assert(std::string_view(name) == std::string_view(clap_abi::name))

AMP_SIZE(clap_version_t);
AMP_SIZE(clap_event_header_t);
AMP_FIELD(clap_event_header_t, size);
AMP_FIELD(clap_event_header_t, time);
AMP_FIELD(clap_event_header_t, space_id);
AMP_FIELD(clap_event_header_t, type);
AMP_FIELD(clap_event_header_t, flags);
AMP_SIZE(clap_event_param_value_t);
AMP_FIELD(clap_event_param_value_t, param_id);
AMP_FIELD(clap_event_param_value_t, cookie);
AMP_FIELD(clap_event_param_value_t, note_id);
AMP_FIELD(clap_event_param_value_t, port_index);
AMP_FIELD(clap_event_param_value_t, channel);
AMP_FIELD(clap_event_param_value_t, key);
AMP_FIELD(clap_event_param_value_t, value);
AMP_SIZE(clap_input_events_t);
AMP_FIELD(clap_input_events_t, size);
AMP_FIELD(clap_input_events_t, get);
AMP_SIZE(clap_output_events_t);
AMP_FIELD(clap_output_events_t, try_push);
AMP_SIZE(clap_audio_buffer_t);
AMP_FIELD(clap_audio_buffer_t, data32);
AMP_FIELD(clap_audio_buffer_t, data64);
AMP_FIELD(clap_audio_buffer_t, channel_count);
AMP_FIELD(clap_audio_buffer_t, latency);
AMP_FIELD(clap_audio_buffer_t, constant_mask);
AMP_SIZE(clap_process_t);
AMP_FIELD(clap_process_t, steady_time);
AMP_FIELD(clap_process_t, frames_count);
AMP_FIELD(clap_process_t, transport);
AMP_FIELD(clap_process_t, audio_inputs);
AMP_FIELD(clap_process_t, audio_outputs);
AMP_FIELD(clap_process_t, audio_inputs_count);
AMP_FIELD(clap_process_t, audio_outputs_count);
AMP_FIELD(clap_process_t, in_events);
AMP_FIELD(clap_process_t, out_events);
AMP_SIZE(clap_host_t);
AMP_FIELD(clap_host_t, host_data);
AMP_FIELD(clap_host_t, name);
AMP_FIELD(clap_host_t, version);
AMP_FIELD(clap_host_t, get_extension);
AMP_FIELD(clap_host_t, request_restart);
AMP_FIELD(clap_host_t, request_process);
AMP_FIELD(clap_host_t, request_callback);
AMP_SIZE(clap_plugin_descriptor_t);
AMP_FIELD(clap_plugin_descriptor_t, id);
AMP_FIELD(clap_plugin_descriptor_t, name);
AMP_FIELD(clap_plugin_descriptor_t, vendor);
AMP_FIELD(clap_plugin_descriptor_t, url);
AMP_FIELD(clap_plugin_descriptor_t, version);
AMP_FIELD(clap_plugin_descriptor_t, description);
AMP_FIELD(clap_plugin_descriptor_t, features);
AMP_SIZE(clap_plugin_t);
AMP_FIELD(clap_plugin_t, desc);
AMP_FIELD(clap_plugin_t, plugin_data);
AMP_FIELD(clap_plugin_t, init);
AMP_FIELD(clap_plugin_t, destroy);
AMP_FIELD(clap_plugin_t, activate);
AMP_FIELD(clap_plugin_t, deactivate);
AMP_FIELD(clap_plugin_t, start_processing);
AMP_FIELD(clap_plugin_t, stop_processing);
AMP_FIELD(clap_plugin_t, reset);
AMP_FIELD(clap_plugin_t, process);
AMP_FIELD(clap_plugin_t, get_extension);
AMP_FIELD(clap_plugin_t, on_main_thread);
AMP_SIZE(clap_plugin_factory_t);
AMP_FIELD(clap_plugin_factory_t, get_plugin_count);
AMP_FIELD(clap_plugin_factory_t, get_plugin_descriptor);
AMP_FIELD(clap_plugin_factory_t, create_plugin);
AMP_SIZE(clap_plugin_entry_t);
AMP_FIELD(clap_plugin_entry_t, init);
AMP_FIELD(clap_plugin_entry_t, deinit);
AMP_FIELD(clap_plugin_entry_t, get_factory);
AMP_SIZE(clap_audio_port_info_t);
AMP_FIELD(clap_audio_port_info_t, id);
AMP_FIELD(clap_audio_port_info_t, name);
AMP_FIELD(clap_audio_port_info_t, flags);
AMP_FIELD(clap_audio_port_info_t, channel_count);
AMP_FIELD(clap_audio_port_info_t, port_type);
AMP_FIELD(clap_audio_port_info_t, in_place_pair);
AMP_SIZE(clap_plugin_audio_ports_t);
AMP_FIELD(clap_plugin_audio_ports_t, count);
AMP_FIELD(clap_plugin_audio_ports_t, get);
AMP_SIZE(clap_param_info_t);
AMP_FIELD(clap_param_info_t, id);
AMP_FIELD(clap_param_info_t, flags);
AMP_FIELD(clap_param_info_t, cookie);
AMP_FIELD(clap_param_info_t, name);
AMP_FIELD(clap_param_info_t, module);
AMP_FIELD(clap_param_info_t, min_value);
AMP_FIELD(clap_param_info_t, max_value);
AMP_FIELD(clap_param_info_t, default_value);
AMP_SIZE(clap_plugin_params_t);
AMP_FIELD(clap_plugin_params_t, count);
AMP_FIELD(clap_plugin_params_t, get_info);
AMP_FIELD(clap_plugin_params_t, get_value);
AMP_FIELD(clap_plugin_params_t, value_to_text);
AMP_FIELD(clap_plugin_params_t, text_to_value);
AMP_FIELD(clap_plugin_params_t, flush);
AMP_SIZE(clap_istream_t);
AMP_FIELD(clap_istream_t, read);
AMP_SIZE(clap_ostream_t);
AMP_FIELD(clap_ostream_t, write);
AMP_SIZE(clap_plugin_state_t);
AMP_FIELD(clap_plugin_state_t, save);
AMP_FIELD(clap_plugin_state_t, load);
AMP_SIZE(clap_plugin_latency_t);
AMP_SIZE(clap_host_latency_t);
AMP_SIZE(clap_plugin_preset_load_t);
AMP_SIZE(clap_host_preset_load_t);
AMP_FIELD(clap_host_preset_load_t, on_error);
AMP_FIELD(clap_host_preset_load_t, loaded);
AMP_SIZE(clap_host_log_t);
AMP_SAME(CLAP_INVALID_ID);
AMP_SAME(CLAP_CORE_EVENT_SPACE_ID);
AMP_SAME(CLAP_NAME_SIZE);
AMP_SAME(CLAP_PATH_SIZE);
AMP_SAME(CLAP_PROCESS_ERROR);
AMP_SAME(CLAP_PROCESS_CONTINUE);
AMP_SAME(CLAP_EVENT_PARAM_VALUE);
AMP_SAME(CLAP_AUDIO_PORT_IS_MAIN);
AMP_SAME(CLAP_PARAM_IS_STEPPED);
AMP_SAME(CLAP_PARAM_IS_BYPASS);
AMP_SAME(CLAP_PARAM_IS_AUTOMATABLE);
AMP_SAME(CLAP_PRESET_DISCOVERY_LOCATION_FILE);
AMP_SAME(CLAP_LOG_WARNING);
AMP_TEXT(CLAP_PLUGIN_FACTORY_ID);
AMP_TEXT(CLAP_EXT_AUDIO_PORTS);
AMP_TEXT(CLAP_EXT_LATENCY);
AMP_TEXT(CLAP_EXT_LOG);
AMP_TEXT(CLAP_EXT_PARAMS);
AMP_TEXT(CLAP_EXT_PRESET_LOAD);
AMP_TEXT(CLAP_EXT_STATE);
AMP_TEXT(CLAP_PORT_MONO);
AMP_TEXT(CLAP_PORT_STEREO);

}  // namespace
