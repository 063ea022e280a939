/*
** select_test: several cases, of which one happens.
*/
#include "wait.h"

static void choice_among_ready_is_uniform(rl_choice choice) {
  enum { CHANS = 4, ROUNDS = 20000 };
  rl_chan *c[CHANS];
  unsigned n[CHANS] = {0}, won;
  for (int i = 0; i < CHANS; i++) c[i] = rl_chan_make(1, NULL);
  for (int i = 0; i < CHANS; i++) put_number(c[i], i);
  for (int r = 0; r < ROUNDS; r++) {
    rl_case k[CHANS];
    for (int i = 0; i < CHANS; i++) k[i] = recv_case(c[i]);
    settle(k, CHANS);
    if (rl_select(NULL, k, CHANS, choice, &won) != RL_OK) CHECK(false, "a ready case is chosen");
    n[won]++;
    put_number(c[won], (int64_t)won);
  }
  for (unsigned i = 0; i < CHANS; i++)
    if (choice == RL_RANDOM)
      CHECK(n[i] > ROUNDS / CHANS * 9 / 10 && n[i] < ROUNDS / CHANS * 11 / 10,
            "the choice among ready cases is uniform");
    else
      CHECK(n[i] == (i == 0 ? ROUNDS : 0), "an ordered choice takes the first");
  for (int i = 0; i < CHANS; i++) drop_chan(c[i]);
}

static void an_ordered_choice_skips_what_is_not_ready(void) {
  rl_chan *a = rl_chan_make(0, NULL), *b = rl_chan_make(1, NULL);
  put_number(b, 7);
  rl_case k[] = {recv_case(NULL), recv_case(a), send_case(b, 8), recv_case(b)};
  unsigned won;
  settle(k, 4);
  CHECK(rl_select(NULL, k, 4, RL_ORDERED, &won) == RL_OK && won == 3 && k[3].msg.u.i == 7,
        "an ordered choice takes the first that is ready");
  CHECK(rl_select(NULL, k, 2, RL_ORDERED, &won) == RL_NOT_READY, "and tells when none is");
  CHECK(rl_select(NULL, k, 0, RL_RANDOM, &won) == RL_NOT_READY, "none at all is never ready");
  drop_chan(a);
  drop_chan(b);
}

static void a_channel_may_stand_twice(void) {
  rl_chan *c = rl_chan_make(0, NULL);
  rl_waiter w;
  unsigned won, n[2] = {0};
  rl_waiter_open(&w);
  rl_case k[] = {recv_case(c), recv_case(c), recv_case(NULL)};
  CHECK(publish(&w, k, 3, RL_ORDERED, &won) == RL_PARK, "a select waits");
  CHECK(put_number(c, 5) == RL_OK, "and is served");
  CHECK(put_number(c, 6) == RL_NOT_READY, "once");
  CHECK(conclude(&w, k, 3, &won) == RL_OK && won == 0 && k[0].msg.u.i == 5,
        "by its first case, when in order");
  CHECK(!c->receivers.first, "all cases are withdrawn");
  for (int i = 0; i < 1000; i++) {
    rl_case s = send_case(c, i), r[] = {recv_case(c), recv_case(c)};
    publish(&w, &s, 1, RL_RANDOM, &won);
    settle(r, 2);
    if (rl_select(NULL, r, 2, RL_RANDOM, &won) == RL_OK) n[won]++;
    conclude(&w, &s, 1, &won);
  }
  CHECK(n[0] > 400 && n[1] > 400, "both cases of one channel are chosen");
  n[0] = n[1] = 0;
  for (int i = 0; i < 1000; i++) {
    publish(&w, k, 3, RL_RANDOM, &won);
    put_number(c, i);
    if (conclude(&w, k, 3, &won) == RL_OK) n[won]++;
  }
  CHECK(n[0] > 400 && n[1] > 400, "also of a select that has waited");
  drop_chan(c);
}

static void a_select_does_not_meet_itself(void) {
  rl_chan *c = rl_chan_make(0, NULL);
  rl_waiter w;
  unsigned won;
  int64_t got;
  rl_waiter_open(&w);
  rl_case k[] = {send_case(c, 1), recv_case(c)};
  CHECK(publish(&w, k, 2, RL_RANDOM, &won) == RL_PARK, "a select does not meet itself");
  CHECK(take_number(c, &got) == RL_OK && got == 1, "another receives from it");
  CHECK(put_number(c, 2) == RL_NOT_READY, "and then it receives no more");
  CHECK(conclude(&w, k, 2, &won) == RL_OK && won == 0, "the send has happened");
  CHECK(!c->receivers.first && !c->senders.first, "all cases are withdrawn");
  drop_chan(c);
}

static void closed_and_fired_cases(void) {
  rl_chan *c = rl_chan_make(0, NULL), *o = rl_chan_make(0, NULL);
  rl_done *d = rl_done_make(NULL);
  rl_waiter w;
  unsigned won;
  rl_waiter_open(&w);
  rl_done_start(d, INFINITY);
  rl_case k[] = {recv_case(o), watch_case(&d->event), send_case(c, 3)};
  publish(&w, k, 3, RL_RANDOM, &won);
  rl_chan_close(c);
  CHECK(conclude(&w, k, 3, &won) == RL_CLOSED && won == 2 && k[2].msg.u.i == 3,
        "closing ends a select, the value stays");
  publish(&w, k, 2, RL_RANDOM, &won);
  rl_done_fire(d, RL_CANCELED, NULL);
  CHECK(conclude(&w, k, 2, &won) == RL_FIRED && won == 1, "a done that fires ends a select");
  CHECK(wait_on(&w, k, 2, RL_ORDERED, &won) == RL_FIRED && won == 1, "one that has fired is ready");
  CHECK(!o->receivers.first && !d->event.watchers.first, "all cases are withdrawn");
  drop_chan(c);
  drop_chan(o);
  drop_done(d);
}

/* Tokens wander between channels; each actor takes one anywhere and puts it anywhere. */
enum { CHANS = 12, ACTORS = 4, MOVES = 1500 };

static rl_chan *ring[CHANS];

static void *wander(void *arg) {
  uint64_t rnd = (uintptr_t)arg;
  rl_waiter w;
  unsigned won;
  rl_waiter_open(&w);
  for (int i = 0; i < MOVES; i++) {
    rl_case k[CHANS];
    unsigned first = pick(&rnd, CHANS);
    for (unsigned j = 0; j < CHANS; j++) k[j] = recv_case(ring[(first + j) % CHANS]);
    if (wait_on(&w, k, CHANS, i % 2 ? RL_RANDOM : RL_ORDERED, &won) != RL_OK) abort();
    int64_t token = k[won].msg.u.i;
    for (unsigned j = 0; j < CHANS; j++) k[j] = send_case(ring[(first + j) % CHANS], token);
    if (wait_on(&w, k, CHANS, RL_RANDOM, &won) != RL_OK) abort();
  }
  return NULL;
}

static void no_token_is_lost_in_contention(void) {
  enum { TOKENS = 3 };
  bool seen[TOKENS] = {false};
  pthread_t t[ACTORS];
  int64_t got;
  for (int i = 0; i < CHANS; i++) ring[i] = rl_chan_make(1, NULL);
  for (int i = 0; i < TOKENS; i++) put_number(ring[i], i);
  for (uintptr_t i = 0; i < ACTORS; i++) t[i] = start_thread(wander, (void *)(i + 1));
  for (int i = 0; i < ACTORS; i++) join_thread(t[i]);
  unsigned n = 0;
  for (int i = 0; i < CHANS; i++) {
    for (; take_number(ring[i], &got) == RL_OK; n++) {
      CHECK(!seen[got], "no token is doubled");
      seen[got] = true;
    }
    CHECK(!ring[i]->receivers.first && !ring[i]->senders.first, "nobody stays queued");
    drop_chan(ring[i]);
  }
  CHECK(n == TOKENS, "no token is lost among selects that contend");
}

/* Everybody offers and asks on one channel at once: they meet in pairs. */
static rl_chan *meeting;
static atomic_uint sent, received;

static void *meet(void *arg) {
  rl_waiter w;
  unsigned won;
  (void)arg;
  rl_waiter_open(&w);
  for (int i = 0; i < MOVES; i++) {
    rl_case k[] = {send_case(meeting, i), recv_case(meeting)};
    if (wait_on(&w, k, 2, RL_RANDOM, &won) != RL_OK) break;
    atomic_fetch_add(won == 0 ? &sent : &received, 1);
  }
  rl_chan_close(meeting); /* the others have nobody left to meet, in the end */
  return NULL;
}

static void selects_meet_each_other(void) {
  pthread_t t[ACTORS];
  meeting = rl_chan_make(0, NULL);
  for (int i = 0; i < ACTORS; i++) t[i] = start_thread(meet, NULL);
  for (int i = 0; i < ACTORS; i++) join_thread(t[i]);
  CHECK(atomic_load(&sent) == atomic_load(&received), "each send met one receive");
  CHECK(atomic_load(&sent) >= MOVES / 2, "and there were many");
  drop_chan(meeting);
}

static rl_chan *side[2];
static atomic_bool moving;

/* At each moment one of the two holds a value. */
static void *move_to_and_fro(void *arg) {
  int64_t got;
  (void)arg;
  for (int i = 0; atomic_load(&moving); i = 1 - i) {
    put_number(side[i], 0);
    take_number(side[1 - i], &got);
  }
  return NULL;
}

static void not_ready_means_none_was_at_one_moment(void) {
  enum { LOOKS = 20000, BETWEEN = 30 };
  rl_chan *empty = rl_chan_make(0, NULL);
  unsigned won, missed = 0;
  for (int i = 0; i < 2; i++) side[i] = rl_chan_make(1, NULL);
  put_number(side[1], 0);
  atomic_store(&moving, true);
  pthread_t t = start_thread(move_to_and_fro, NULL);
  for (int i = 0; i < LOOKS; i++) {
    rl_case k[BETWEEN + 2] = {recv_case(side[0]), recv_case(side[1])};
    for (int j = 0; j < BETWEEN; j++) k[j + 2] = recv_case(empty);
    settle(k, BETWEEN + 2);
    if (rl_select(NULL, k, BETWEEN + 2, RL_RANDOM, &won) == RL_OK)
      put_number(side[won], 0);
    else
      missed++;
  }
  atomic_store(&moving, false);
  join_thread(t);
  CHECK(missed == 0, "a select finds none ready only if none was at one moment");
  for (int i = 0; i < 2; i++) drop_chan(side[i]);
  drop_chan(empty);
}

int main(void) {
  begin(60);
  choice_among_ready_is_uniform(RL_RANDOM);
  choice_among_ready_is_uniform(RL_ORDERED);
  an_ordered_choice_skips_what_is_not_ready();
  a_channel_may_stand_twice();
  a_select_does_not_meet_itself();
  closed_and_fired_cases();
  no_token_is_lost_in_contention();
  selects_meet_each_other();
  not_ready_means_none_was_at_one_moment();
  CHECK(rl_chans() == 0, "no channel is left");
  return finish();
}
