// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A module with the tracepoint nvidia:nvidia_dev_xid for a machine without a GPU. What is written to
 * /sys/module/nvidia_xid_scenario/parameters/report is reported there: "<PCI name> <Xid> <message>". What is
 * written to the parameter `log` beside it the kernel logs, as it logs what the driver says.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>

#define CREATE_TRACE_POINTS
#include "nvidia_xid_trace.h"

static int trace(char *text)
{
	char *dev = strsep(&text, " ");
	char *code = strsep(&text, " ");
	u32 error_code;
	int failed;

	if (!code || !text)
		return -EINVAL;
	failed = kstrtou32(code, 10, &error_code);
	if (failed)
		return failed;
	trace_nvidia_dev_xid(dev, error_code, text);
	return 0;
}

static int report(const char *value, const struct kernel_param *parameter)
{
	char *text = kstrdup(value, GFP_KERNEL);
	int result;

	if (!text)
		return -ENOMEM;
	result = trace(strim(text));
	kfree(text);
	return result;
}

static const struct kernel_param_ops report_ops = { .set = report };
module_param_cb(report, &report_ops, NULL, 0200);
MODULE_PARM_DESC(report, "reports an error: <PCI name> <Xid> <message>");

static int log_line(const char *value, const struct kernel_param *parameter)
{
	printk(KERN_ERR "%.*s\n", (int)strcspn(value, "\n"), value);
	return 0;
}

static const struct kernel_param_ops log_ops = { .set = log_line };
module_param_cb(log, &log_ops, NULL, 0200);
MODULE_PARM_DESC(log, "logs a line");

static int __init begin(void)
{
	return 0;
}

static void __exit end(void)
{
}

module_init(begin);
module_exit(end);

MODULE_DESCRIPTION("The tracepoint nvidia:nvidia_dev_xid without a GPU");
MODULE_LICENSE("Dual MIT/GPL");
