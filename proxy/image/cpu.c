/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - May a program that runs on that processor go on on this one?
 *
 * The kernel's own list of flags is compared, name by name: a new instruction set then counts from
 * the day that kernels know it.  What only a kernel or a hypervisor can use is in a table of names
 * that don't matter; a flag in no table matters, as a refusal too many is better than SIGILL.
 * Beside it XCR0: which registers the kernel saves and restores, and with that the size and form
 * of every saved state in the image.
 */
#include "proxy/image/cpu.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/scope.h"

#define FLAGS_MAX 16384		/* bytes of a peer's list; today's are 2,000 */
#define MISSING_MAX 320		/* bytes of names in a sentence */

/*
 * Flags that change no instruction that user space can execute.  Not here, for example: xsavec
 * (the dynamic linker picks it), fsgsbase, rdpid, monitorx, pku, rtm.
 */
/* clang-format off */
static const char *const ignored[] = {
	/* kernel memory, interrupts, machine checks, power; clock sources */
	"vme", "de", "pse", "msr", "pae", "mce", "apic", "mtrr", "pge", "mca", "pat", "pse36",
	"pn", "dts", "acpi", "ss", "ht", "tm", "ia64", "pbe", "mp", "nx", "pdpe1gb", "fxsr_opt",
	"up", "constant_tsc", "nonstop_tsc", "nonstop_tsc_s3", "tsc_known_freq", "tsc_reliable",
	"art", "tsc_adjust", "tsc_deadline_timer", "tsc_scale", "arat", "x2apic", "extapic",
	"pcid", "invpcid", "smep", "smap", "umip", "la57", "lass", "lam", "fred", "lkgs",
	"wrmsrns", "sep", "sysenter32", "syscall32", "wbnoinvd", "pconfig", "tme", "hrs",
	"msr_imm", "bus_lock_detect", "split_lock_detect", "monitor", "cpuid_fault", "cid",
	"dca", "xtpr", "dtes64", "ds_cpl", "est", "tm2", "sdbg", "smx", "ida", "epb", "pln",
	"pts", "dtherm", "hfi", "cpb", "hw_pstate", "cppc", "proc_feedback", "hwp",
	"hwp_notify", "hwp_act_window", "hwp_epp", "hwp_pkg_req", "hwp_highest_perf_change",
	"acc_power", "tce", "amd_dcm", "irperf", "skinit", "wdt", "osvw", "nodeid_msr",
	"amd_ppin", "intel_ppin", "overflow_recov", "succor", "smca", "hybrid_cpu",
	"amd_hetero_cores", "xsaves", "xsaveerptr", "fdp_excptn_only", "zero_fcs_fds",
	"amd_fast_cpcc", "amd_workload_class",
	/* only how fast: the instructions are the same */
	"erms", "fsrm", "fsrs", "fsrc", "fzrm", "rep_good", "zen", "zen1", "zen2", "zen3",
	"zen4", "zen5", "zen6", "k6_mtrr", "k7", "k8", "p3", "p4", "cyrix_arr", "centaur_mcr",
	"prefetchi",
	/* what the kernel found out, not what there is */
	"cpuid", "xtopology", "topoext", "extd_apicid", "cmp_legacy", "cr8_legacy", "recovery",
	"longrun", "lrti",
	/* counting and tracing */
	"arch_perfmon", "arch_perfmon_ext", "pebs", "bts", "aperfmperf", "rapl", "pdcm",
	"perfctr_core", "perfctr_nb", "perfctr_llc", "perfmon_v2", "bpext", "ptsc", "ibs",
	"intel_pt", "arch_lbr", "amd_lbr_v2", "amd_lbr_pmc_freeze", "brs", "debug_swap",
	/* sharing of caches and bandwidth */
	"cqm", "cqm_llc", "cqm_occup_llc", "cqm_mbm_total", "cqm_mbm_local", "rdt_a", "cat_l2",
	"cat_l3", "cdp_l2", "cdp_l3", "mba", "smba", "bmec", "abmc", "sdciae",
	/* holes in processors, and what was done about them */
	"pti", "ibrs", "ibpb", "stibp", "ssbd", "ibrs_enhanced", "use_ibpb", "use_ibrs_fw",
	"retpoline", "retpoline_amd", "rsb_ctxsw", "msr_spec_ctrl", "spec_ctrl",
	"spec_ctrl_ssbd", "intel_stibp", "amd_ibpb", "amd_ibrs", "amd_stibp", "amd_ssbd",
	"amd_ssb_no", "amd_psfd", "virt_ssbd", "v_spec_ctrl", "ssb_disable", "ssb_no", "btc_no",
	"ibpb_ret", "ibpb_brtype", "srso_no", "srso_user_kernel_no", "sbpb", "autoibrs",
	"flush_l1d", "md_clear", "srbds_ctrl", "bhi_ctrl", "arch_capabilities",
	"core_capabilities", "verw_clear", "clear_cpu_buf", "tsa_sq_no", "tsa_l1_no",
	"rtm_always_abort", "tsx_force_abort", "rrsba_ctrl", "its_no", "rfds_no", "rsb_vmexit",
	"rsb_vmexit_lite", "unret", "entry_ibpb", "rethunk", "call_depth", "kaiser",
	/* being or having a virtual machine */
	"hypervisor", "vmx", "svm", "tpr_shadow", "vnmi", "flexpriority", "ept", "vpid",
	"ept_ad", "vapic", "vmcall", "vmmcall", "vmw_vmmcall", "xenpv", "tdx_guest",
	"tdx_host_platform", "npt", "lbrv", "svm_lock", "nrip_save", "vmcb_clean",
	"flushbyasid", "decodeassists", "pausefilter", "pfthreshold", "avic", "v_vmsave_vmload",
	"vgif", "x2avic", "v_tsc_aux", "idle_hlt",
	/* encryption and attestation: through devices, or not by programs at all */
	"sme", "sev", "sev_es", "sev_snp", "sme_coherent", "vm_page_flush", "svsm", "sgx",
	"sgx_lc", "sgx1", "sgx2", "sgx_edeccssa", "enqcmd", "rmpquery", "rmpread",
	"segmented_rmp",
	/* shadow stacks and indirect branch tracking: a program that uses them isn't moved */
	"user_shstk", "shstk", "ibt",
};

/* Bits of XCR0, and what programs get by them */
static const struct {
	unsigned bit;
	const char *name;
} xfeature_names[] = {
	{ 0, "x87 state" }, { 1, "SSE state" }, { 2, "AVX state" }, { 3, "MPX bounds" },
	{ 4, "MPX configuration" }, { 5, "AVX-512 mask state" }, { 6, "AVX-512 upper halves" },
	{ 7, "AVX-512 high registers" }, { 9, "protection keys state" },
	{ 17, "AMX configuration" }, { 18, "AMX tile state" }, { 19, "APX registers" },
	{ 62, "LWP state" },
};
/* clang-format on */

/* XCR0: what the kernel lets user space have; 0 where there is no XSAVE or it isn't used */
static uint64_t read_xcr0(void)
{
	unsigned a, b, c = 0, d;
	uint32_t low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

/** read_flags() - The first "flags" line of /proc/cpuinfo.  Return: 0 or a negative errno */
static int read_flags(char **out, struct err *e)
{
	AUTO_FILE FILE *f = fopen("/proc/cpuinfo", "re");
	AUTO_FREE char *line = NULL;
	size_t room = 0;

	if (!f)
		return err_set(e, -errno, "open /proc/cpuinfo");
	while (getline(&line, &room, f) > 0) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "flags", 5) || !colon)
			continue;
		colon += strspn(colon, ": \t");
		colon[strcspn(colon, "\n")] = 0;
		*out = strdup(colon);
		return *out ? 0 : err_set(e, -ENOMEM, "read /proc/cpuinfo");
	}
	return err_say(e, -ENODATA, "/proc/cpuinfo doesn't say what the processor can do");
}

int cpu_describe(struct image *img, struct err *e)
{
	char *flags;
	int rc = read_flags(&flags, e);

	if (rc)
		return rc;
	free(img->cpu_flags);
	img->cpu_flags = flags;
	img->xfeatures = read_xcr0();
	return 0;
}

static bool has_word(const char *list, const char *word, size_t len)
{
	for (const char *at = list; at && (at = strstr(at, word)); at++)
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return true;
	return false;
}

static bool is_ignored(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (!strcmp(ignored[i], word))
			return true;
	return false;
}

/** list_add() - One more name for a sentence; what doesn't fit is told by "…" */
static void list_add(char *list, size_t size, const char *name)
{
	size_t n = strlen(list);

	if (n + strlen(name) + sizeof(", …") <= size)
		snprintf(list + n, size - n, "%s%s", n ? ", " : "", name);
	else if (n + sizeof("…") <= size && strcmp(list + n - strlen("…"), "…"))
		snprintf(list + n, size - n, "…");
}

/** check_flags() - Which of the image's @flags matter and aren't among @ours? */
static void check_flags(const char *flags, const char *ours, struct reasons *why)
{
	AUTO_FREE char *copy = strdup(flags);
	char missing[MISSING_MAX] = "";
	char *rest = copy, *word;

	if (!copy) {
		reasons_add(why, REASON_CPU, NULL,
			    "the processors can't be compared: out of memory");
		return;
	}
	while ((word = strsep(&rest, " \t\n"))) {
		if (*word && !is_ignored(word) && !has_word(ours, word, strlen(word)))
			list_add(missing, sizeof(missing), word);
	}
	if (*missing)
		reasons_add(why, REASON_CPU, NULL, "the processor here doesn't have %s", missing);
}

static void check_xfeatures(uint64_t missing, struct reasons *why)
{
	char list[MISSING_MAX] = "", other[32];

	for (size_t i = 0; i < ARRAY_SIZE(xfeature_names); i++) {
		if (missing >> xfeature_names[i].bit & 1)
			list_add(list, sizeof(list), xfeature_names[i].name);
		missing &= ~(1ull << xfeature_names[i].bit);
	}
	if (missing) {
		snprintf(other, sizeof(other), "bits %#llx of XCR0", (unsigned long long)missing);
		list_add(list, sizeof(list), other);
	}
	if (*list)
		reasons_add(why, REASON_CPU, NULL,
			    "the processor or kernel here doesn't keep registers that the program "
			    "may use: %s",
			    list);
}

/**
 * cpu_check() - All of the image's processor that a program can use must be here
 *
 * What can't be compared stands in the way too.
 */
void cpu_check(const struct image *img, struct reasons *why)
{
	AUTO_FREE char *ours = NULL;
	struct err e = { 0 };

	if (!img->cpu_flags || !*img->cpu_flags || strlen(img->cpu_flags) > FLAGS_MAX)
		reasons_add(why, REASON_CPU, NULL,
			    "the origin doesn't say what its processor can do");
	else if (read_flags(&ours, &e))
		reasons_add(why, REASON_CPU, NULL, "the processors can't be compared: %s", e.text);
	else
		check_flags(img->cpu_flags, ours, why);
	check_xfeatures(img->xfeatures & ~read_xcr0(), why);
}
