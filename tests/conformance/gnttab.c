/* Grants that dom0 gives to itself: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xengnttab.h>

#define PAGE 4096
#define READ PROT_READ
#define WRITE (PROT_READ | PROT_WRITE)

/* No domain has so many grants; and one inside the table that was never granted. */
#define BAD_REF 0x7FFFFFF0
#define FREE_REF 400

/* More grants than gntdev maps at once. */
#define TOO_MANY (64 * 1024 + 1)

/* In a segment's status until somebody writes there. */
#define UNTOUCHED 99

static xengnttab_handle *gnttab;
static xengntshr_handle *gntshr;

static uint8_t *share(unsigned count, uint32_t *refs, bool writable)
{
    uint8_t *pages = xengntshr_share_pages(gntshr, 0, count, refs, writable);
    if (!pages)
        give_up("xengntshr_share_pages");
    return pages;
}

/* Maps, says how it went, and unmaps. */
static const char *try_map(uint32_t domid, uint32_t ref, int prot)
{
    void *page = xengnttab_map_grant_ref(gnttab, domid, ref, prot);
    const char *result = outcome_pointer(page);
    if (page)
        xengnttab_unmap(gnttab, page, 1);
    return result;
}

static const char *try_map_many(unsigned count, uint32_t *refs)
{
    void *pages = xengnttab_map_domain_grant_refs(gnttab, count, 0, refs, WRITE);
    const char *result = outcome_pointer(pages);
    if (pages)
        xengnttab_unmap(gnttab, pages, count);
    return result;
}

static void mapping(void)
{
    uint32_t ref, read_only;
    uint8_t *page = share(1, &ref, true);
    uint8_t *read_only_page = share(1, &read_only, false);
    observe("share: page is zeroed: %s",
            yes(page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0));

    strcpy((char *)page, "from the owner");
    char *map = xengnttab_map_grant_ref(gnttab, 0, ref, WRITE);
    observe("map: %s", outcome_pointer(map));
    observe("map: sees what the owner wrote: %s", yes(strcmp(map, "from the owner") == 0));
    strcpy(map, "to the owner");
    observe("map: the owner sees what is written: %s", yes(strcmp((char *)page, map) == 0));
    char *second = xengnttab_map_grant_ref(gnttab, 0, ref, WRITE);
    observe("map: a second time: %s", outcome_pointer(second));
    strcpy(second, "by the second");
    observe("map: a second time: the same page: %s", yes(strcmp(map, "by the second") == 0));
    observe("unmap: %s", outcome(xengnttab_unmap(gnttab, second, 1)));
    observe("unmap: the first is still there: %s", yes(strcmp(map, "by the second") == 0));
    xengnttab_unmap(gnttab, map, 1);
    /* While there is another mapping above it, Linux takes that for the one that is meant. */
    observe("unmap: again: %s", outcome(xengnttab_unmap(gnttab, map, 1)));
    observe("map: after unmap: %s", try_map(0, ref, WRITE));

    observe("writable grant mapped read-only: %s", try_map(0, ref, READ));
    strcpy((char *)read_only_page, "read this");
    map = xengnttab_map_grant_ref(gnttab, 0, read_only, READ);
    observe("read-only grant: map: %s", outcome_pointer(map));
    observe("read-only grant: contents: %s", map ? map : "none");
    observe("read-only grant: unmap: %s", outcome(xengnttab_unmap(gnttab, map, 1)));
    observe("read-only grant: map writable: %s", try_map(0, read_only, WRITE));

    observe("bad reference: %s", try_map(0, BAD_REF, WRITE));
    observe("free reference: %s", try_map(0, FREE_REF, WRITE));
    observe("domain that is not there: %s", try_map(NO_DOMAIN, ref, WRITE));
    uint32_t foreign;
    void *foreign_page = xengntshr_share_pages(gntshr, NO_DOMAIN, 1, &foreign, 1);
    observe("share with a domain that is not there: %s", outcome_pointer(foreign_page));
    observe("map what is granted to another: %s", try_map(0, foreign, WRITE));
    xengntshr_unshare(gntshr, foreign_page, 1);
    xengntshr_unshare(gntshr, read_only_page, 1);
    xengntshr_unshare(gntshr, page, 1);
}

static void mapping_many(void)
{
    uint32_t refs[3];
    uint8_t *pages = share(3, refs, true);
    for (unsigned i = 0; i < 3; i++)
        pages[i * PAGE] = 'a' + i;

    uint32_t order[3] = { refs[2], refs[0], refs[1] };
    uint8_t *map = xengnttab_map_domain_grant_refs(gnttab, 3, 0, order, WRITE);
    observe("three: map: %s", outcome_pointer(map));
    observe("three: contents: %c%c%c", map[0], map[PAGE], map[2 * PAGE]);
    observe("three: unmap of one: %s", outcome(xengnttab_unmap(gnttab, map, 1)));
    observe("three: unmap of four: %s", outcome(xengnttab_unmap(gnttab, map, 4)));
    observe("three: unmap from the second: %s", outcome(xengnttab_unmap(gnttab, map + PAGE, 2)));
    observe("three: unmap: %s", outcome(xengnttab_unmap(gnttab, map, 3)));

    uint32_t same[3] = { refs[0], refs[0], refs[0] };
    observe("three times the same: %s", try_map_many(3, same));
    uint32_t bad[3] = { refs[0], BAD_REF, refs[1] };
    observe("three, one bad: %s", try_map_many(3, bad));
    observe("three, one bad: the others afterwards: %s", try_map_many(3, refs));
    observe("none: %s", try_map_many(0, refs));

    uint32_t *many = malloc(TOO_MANY * sizeof(*many));
    for (unsigned i = 0; i < TOO_MANY; i++)
        many[i] = refs[0];
    observe("more than gntdev's limit: %s", try_map_many(TOO_MANY, many));
    free(many);

    xengnttab_handle *limited = xengnttab_open(NULL, 0);
    observe("set_max_grants 2: %s", outcome(xengnttab_set_max_grants(limited, 2)));
    void *three = xengnttab_map_domain_grant_refs(limited, 3, 0, refs, WRITE);
    observe("set_max_grants 2: map of three: %s", outcome_pointer(three));
    xengnttab_close(limited);
    observe("close while mapped: contents: %c", ((char *)three)[0]);
    munmap(three, 3 * PAGE);
    xengntshr_unshare(gntshr, pages, 3);
}

static void unsharing(void)
{
    uint32_t ref;
    uint8_t *page = share(1, &ref, true);
    page[0] = 'x';
    uint8_t *map = xengnttab_map_grant_ref(gnttab, 0, ref, WRITE);
    observe("unshare while mapped: %s", outcome(xengntshr_unshare(gntshr, page, 1)));
    observe("unshare while mapped: contents: %c", map[0]);
    map[0] = 'y';
    observe("unshare while mapped: map again: %s", try_map(0, ref, WRITE));
    uint32_t other_ref;
    uint8_t *other = share(1, &other_ref, true);
    observe("unshare while mapped: a new grant has another reference: %s, another page: %s",
            yes(other_ref != ref), yes(other[0] == 0 && map[0] == 'y'));
    xengnttab_unmap(gnttab, map, 1);
    xengntshr_unshare(gntshr, other, 1);
    observe("unmapped after unshare: map again: %s", try_map(0, other_ref, WRITE));

    page = share(1, &ref, true);
    xengntshr_unshare(gntshr, page, 1);
    observe("map after unshare: %s", try_map(0, ref, WRITE));

    xengntshr_handle *owner = xengntshr_open(NULL, 0);
    page = xengntshr_share_pages(owner, 0, 1, &ref, 1);
    xengntshr_close(owner);
    observe("map after the owner's handle is closed: %s", try_map(0, ref, WRITE));
    munmap(page, PAGE);
}

/* --- copies --- */

typedef xengnttab_grant_copy_segment_t segment;

static union xengnttab_copy_ptr granted(uint32_t ref, unsigned offset)
{
    return (union xengnttab_copy_ptr){ .foreign = { ref, offset, 0 } };
}

static union xengnttab_copy_ptr local(const void *memory)
{
    return (union xengnttab_copy_ptr){ .virt = (void *)memory };
}

static segment to_grant(uint32_t ref, unsigned offset, const void *from, unsigned length)
{
    return (segment){ local(from), granted(ref, offset), length, GNTCOPY_dest_gref, UNTOUCHED };
}

static segment from_grant(void *to, uint32_t ref, unsigned offset, unsigned length)
{
    return (segment){ granted(ref, offset), local(to), length, GNTCOPY_source_gref, UNTOUCHED };
}

/* Copies and says how the call and every segment went. */
static void copy(const char *what, unsigned count, segment *segments)
{
    char statuses[512] = "", *end = statuses; /* 7 characters at most for each of 40 */
    const char *result = outcome(xengnttab_grant_copy(gnttab, count, segments));
    for (unsigned i = 0; i < count; i++)
        end += segments[i].status == UNTOUCHED ? sprintf(end, " -")
                                               : sprintf(end, " %d", segments[i].status);
    observe("copy: %s: %s, status%s", what, result, statuses);
}

static void copying(void)
{
    static uint8_t memory[4 * PAGE];
    uint32_t refs[2];
    uint8_t *pages = share(2, refs, true);

    segment s = to_grant(refs[0], 100, "0123456789", 10);
    copy("to a grant", 1, &s);
    observe("copy: to a grant: contents: %.10s, around it: %u %u", pages + 100, pages[99],
            pages[110]);
    s = from_grant(memory + 3, refs[0], 102, 5);
    copy("from a grant", 1, &s);
    observe("copy: from a grant: contents: %.5s, around it: %u %u", memory + 3, memory[2],
            memory[8]);
    s = (segment){ granted(refs[0], 100), granted(refs[1], 7), 10,
                   GNTCOPY_source_gref | GNTCOPY_dest_gref, UNTOUCHED };
    copy("from grant to grant", 1, &s);
    observe("copy: from grant to grant: contents: %.10s", pages + PAGE + 7);

    memset(pages, 'p', PAGE);
    memset(memory, 0, sizeof(memory));
    s = from_grant(memory + 3000, refs[0], 0, PAGE);
    copy("a page over a page end of local memory", 1, &s);
    observe("copy: a page over a page end of local memory: complete: %s",
            yes(!memory[2999] && memchr(memory + 3000, 0, PAGE) == NULL && !memory[3000 + PAGE]));
    s = from_grant(memory, refs[0], PAGE - 10, 10);
    copy("up to the page's end", 1, &s);
    s = from_grant(memory, refs[0], PAGE - 10, 11);
    copy("over the page's end", 1, &s);
    s = from_grant(memory, refs[0], PAGE, 1);
    copy("from the page's end", 1, &s);
    s = from_grant(memory, refs[0], 10, 0);
    copy("nothing", 1, &s);
    s = from_grant(memory, refs[0], PAGE, 0);
    copy("nothing from the page's end", 1, &s);
    copy("no segments", 0, &s);
    xengntshr_unshare(gntshr, pages, 2);
}

static void bad_copies(void)
{
    static uint8_t memory[PAGE];
    uint32_t ref, read_only, foreign;
    uint8_t *page = share(1, &ref, true);
    uint8_t *read_only_page = share(1, &read_only, false);
    void *foreign_page = xengntshr_share_pages(gntshr, NO_DOMAIN, 1, &foreign, 1);

    segment s = from_grant(memory, BAD_REF, 0, 8);
    copy("bad reference", 1, &s);
    s = from_grant(memory, FREE_REF, 0, 8);
    copy("free reference", 1, &s);
    s = from_grant(memory, foreign, 0, 8);
    copy("what is granted to another", 1, &s);
    s = from_grant(memory, ref, 0, 8);
    s.source.foreign.domid = NO_DOMAIN;
    copy("domain that is not there", 1, &s);
    s = from_grant(memory, read_only, 0, 8);
    copy("from a read-only grant", 1, &s);
    s = to_grant(read_only, 0, "overwrite", 8);
    copy("to a read-only grant", 1, &s);
    observe("copy: to a read-only grant: written: %s", yes(read_only_page[0] != 0));
    s = (segment){ local(memory), local(memory + 100), 8, 0, UNTOUCHED };
    copy("from local to local", 1, &s);

    xengntshr_unshare(gntshr, foreign_page, 1);
    xengntshr_unshare(gntshr, read_only_page, 1);
    xengntshr_unshare(gntshr, page, 1);
}

static void many_copies(void)
{
    static uint8_t memory[40 * 16] __attribute__((aligned(PAGE))); /* so that no copy is in two */
    uint32_t ref, read_only;
    uint8_t *page = share(1, &ref, true);
    uint8_t *read_only_page = share(1, &read_only, false);
    segment s[40];

    memset(page, 'm', PAGE);
    for (unsigned i = 0; i < 40; i++)
        s[i] = from_grant(memory + 16 * i, ref, 16 * i, 16);
    s[3] = from_grant(memory + 16 * 3, BAD_REF, 0, 16);
    s[20] = to_grant(read_only, 0, "overwrite", 8);
    s[39] = from_grant(memory + 16 * 39, ref, 0, 16);
    s[39].source.foreign.domid = NO_DOMAIN;
    copy("forty, three bad", 40, s);
    unsigned done = 0;
    for (unsigned i = 0; i < 40; i++)
        done += memory[16 * i + 15] == 'm';
    observe("copy: forty, three bad: done: %u", done);

    /* The kernel refuses the call; status tells nothing of what was done before. */
    memset(memory, 0, sizeof(memory));
    for (unsigned i = 0; i < 40; i++)
        s[i] = from_grant(memory + 16 * i, ref, 16 * i, 16);
    s[30] = from_grant(memory + 16 * 30, ref, PAGE - 1, 16);
    copy("forty, one over a page's end", 40, s);
    done = 0;
    for (unsigned i = 0; i < 40; i++)
        done += memory[16 * i + 15] == 'm';
    observe("copy: forty, one over a page's end: done: %u", done);

    uint8_t *map = xengnttab_map_grant_ref(gnttab, 0, ref, WRITE);
    segment one = to_grant(ref, 0, "while mapped", 12);
    copy("to a grant that is mapped", 1, &one);
    observe("copy: to a grant that is mapped: contents: %.12s", map);
    one = from_grant(memory, ref, 0, 12);
    copy("from a grant that is mapped", 1, &one);
    one = to_grant(ref, 100, map, 12);
    copy("from local memory that is itself a mapped grant", 1, &one);
    xengnttab_unmap(gnttab, map, 1);
    xengntshr_unshare(gntshr, read_only_page, 1);
    xengntshr_unshare(gntshr, page, 1);
    one = from_grant(memory, ref, 0, 12);
    copy("after unshare", 1, &one);
}

void gnttab_area(unsigned domid)
{
    gnttab = xengnttab_open(NULL, 0);
    gntshr = xengntshr_open(NULL, 0);
    if (!gnttab || !gntshr)
        give_up("gntdev or gntalloc cannot be opened");
    mapping();
    mapping_many();
    unsharing();
    copying();
    bad_copies();
    many_copies();
    xengnttab_close(gnttab);
    xengntshr_close(gntshr);
}
