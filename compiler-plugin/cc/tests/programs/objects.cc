// C++ without exceptions: virtual functions and bases, templates, closures, destructors, statics, pointers
// to members, placement and arrays of objects, moved wherever their calls are.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int alive, order;

struct Counted {
  Counted() { alive++; }
  Counted(const Counted &) { alive++; }
  ~Counted() { alive--; }
};

struct Shape {
  virtual ~Shape() {}
  virtual double area() const = 0;
  virtual const char *name() const { return "shape"; }
};

struct Named {
  const char *text;
  explicit Named(const char *t) : text(t) {}
  virtual ~Named() {}
  virtual int letters() const { return (int)strlen(text); }
};

struct Circle : Shape, virtual Named, Counted {
  double radius;
  explicit Circle(double r) : Named("circle"), radius(r) {}
  double area() const override { return radius * radius * 3.25; }
  const char *name() const override { return text; }
};

struct Box : Shape, Counted {
  double sides[2];
  Box(double a, double b) : sides{a, b} {}
  double area() const override { return sides[0] * sides[1]; }
};

template <typename T> struct List {
  struct Node : Counted {
    T value;
    Node *next;
    Node(const T &v, Node *n) : value(v), next(n) {}
  } *first = nullptr;
  int length = 0;
  ~List() {
    while (Node *node = first) first = node->next, delete node;
  }
  void push(const T &value) { first = new Node(value, first), length++; }
  template <typename F> auto fold(F f, decltype(f(T(), T())) from) const {
    for (Node *node = first; node; node = node->next) from = f(from, node->value);
    return from;
  }
};

template <typename T, typename F> static void sort(T *from, T *to, F before) {
  if (to - from < 2) return;
  T pivot = from[(to - from) / 2], *low = from, *high = to - 1;
  while (low <= high) {
    while (before(*low, pivot)) low++;
    while (before(pivot, *high)) high--;
    if (low <= high) {
      T kept = *low;
      *low++ = *high, *high-- = kept;
    }
  }
  sort(from, high + 1, before);
  sort(low, to, before);
}

struct Early {
  int at;
  explicit Early(int a) : at(order = order * 10 + a) {}
  ~Early() { printf("end %d\n", at); }
};

static Early first(1), second(2);

static Early &once() {
  static Early early(3);
  return early;
}

struct Account {
  long balance = 0;
  long add(long n) { return balance += n; }
  long twice(long n) { return balance += 2 * n; }
};

int main() {
  Shape *shapes[] = {new Circle(1.5), new Box(2, 3.5), new Circle(0.25)};
  double all = 0;
  for (Shape *shape : shapes) all += shape->area();
  Circle *circle = static_cast<Circle *>(shapes[0]);
  printf("%.4f %s %s %d, %d alive\n", all, shapes[0]->name(), shapes[1]->name(), circle->letters(), alive);
  for (Shape *shape : shapes) delete shape;
  {
    List<long> list;
    for (long i = 0; i < 20; i++) list.push(i * i % 13);
    long bias = 3;
    auto add = [&bias](long a, long b) { return a + b * bias; };
    printf("%d long, %ld, %d alive\n", list.length, list.fold(add, 7), alive);
  }
  int numbers[64], compared = 0;
  for (int i = 0; i < 64; i++) numbers[i] = i * 37 % 64;
  sort(numbers, numbers + 64, [&](int a, int b) { return compared++, a > b; });
  printf("%d %d %d, %d compared\n", numbers[0], numbers[31], numbers[63], compared);
  long (Account::*ways[])(long) = {&Account::add, &Account::twice};
  Account account;
  for (int i = 0; i < 10; i++) (account.*ways[i % 2])(i);
  Counted *many = new Counted[5];
  int with = alive;
  delete[] many;
  printf("%ld, %d then %d alive, order %d %d\n", account.balance, with, alive, once().at, once().at);
  return 0;
}
