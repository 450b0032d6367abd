/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The tracepoint by which NVIDIA's driver (575.51.02 and later) reports an error: same name, same fields. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM nvidia

#if !defined(NVIDIA_XID_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define NVIDIA_XID_TRACE_H

#include <linux/tracepoint.h>
#include <linux/version.h>

/* Linux 6.10 took the second argument away (include/trace/stages/stage6_event_callback.h). */
#undef ASSIGN_STRING
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define ASSIGN_STRING(field) __assign_str(field)
#else
#define ASSIGN_STRING(field) __assign_str(field, field)
#endif

TRACE_EVENT(nvidia_dev_xid,
	TP_PROTO(const char *dev, u32 error_code, const char *msg),
	TP_ARGS(dev, error_code, msg),
	TP_STRUCT__entry(
		__string(dev, dev)
		__field(u32, error_code)
		__string(msg, msg)
	),
	TP_fast_assign(
		ASSIGN_STRING(dev);
		__entry->error_code = error_code;
		ASSIGN_STRING(msg);
	),
	TP_printk("%s %u %s", __get_str(dev), __entry->error_code, __get_str(msg))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE nvidia_xid_trace
#include <trace/define_trace.h>
