// Average precision of one query's ranking, by the rules of the Oxford and Paris buildings
// benchmarks of VGG:  compute_ap GROUNDTRUTH_QUERY RANKED_LIST
//
// GROUNDTRUTH_QUERY is a path prefix such as lab/all_souls_1: image names are read from
// lab/all_souls_1_good.txt, _ok.txt and _junk.txt. RANKED_LIST holds image names, the best first.
// Names are separated by white space in all four.
//
// - The positives are the set good + ok: a name in both counts once.
// - Junk is skipped as if it were absent from the ranking; a name that is junk and positive is
//   skipped, but recall still divides by it.
// - Recall divides by all positives, whether the ranking holds them or not.
// - A name counts where the ranking has it first and is skipped where it comes again, so that
//   recall never passes 1.
//
// The value is printed with 6 significant digits. Whatever keeps it from being computed is told in
// one line on stderr, and the exit status is 1.
//
// Build: g++ -std=c++11 -O2 -o compute_ap compute_ap.cpp

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

typedef std::set<std::string> NameSet;

// The white-space-separated names of a file, in its order.
std::vector<std::string> read_names(const std::string& path) {
    errno = 0;
    std::ifstream file(path.c_str());
    std::vector<std::string> names;
    std::string name;
    while (file >> name) {
        names.push_back(name);
    }
    // a folder opens like a file, and only reading it goes bad
    if (!file.is_open() || file.bad()) {
        const std::string reason = errno ? std::strerror(errno) : "read error";
        throw std::runtime_error("cannot read " + path + ": " + reason);
    }
    return names;
}

void add_names(const std::string& path, NameSet* names) {
    const std::vector<std::string> read = read_names(path);
    names->insert(read.begin(), read.end());
}

// Area under the precision-recall curve by trapezoids, from precision 1 at recall 0 on.
float average_precision(const std::vector<std::string>& ranking, const NameSet& positives,
                        const NameSet& junk) {
    NameSet seen;
    float area = 0, last_recall = 0, last_precision = 1;
    size_t hits = 0, rank = 0;
    for (const std::string& name : ranking) {
        if (junk.count(name) || !seen.insert(name).second) {
            continue;
        }
        ++rank;
        hits += positives.count(name);
        const float recall = static_cast<float>(hits) / positives.size();
        const float precision = static_cast<float>(hits) / rank;
        // The heights and the sum are float32, each trapezoid is double: so are VGG's, and
        // anything else can change the sixth digit.
        const double height = (last_precision + precision) / 2;
        area = static_cast<float>(area + (recall - last_recall) * height);
        last_recall = recall;
        last_precision = precision;
    }
    return area;
}

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: compute_ap GROUNDTRUTH_QUERY RANKED_LIST" << std::endl;
        return EXIT_FAILURE;
    }
    const std::string query = argv[1];
    try {
        NameSet positives, junk;
        add_names(query + "_good.txt", &positives);
        add_names(query + "_ok.txt", &positives);
        add_names(query + "_junk.txt", &junk);
        if (positives.empty()) {
            throw std::runtime_error("no positives: " + query + "_good.txt and " + query +
                                     "_ok.txt name no image");
        }
        std::cout << average_precision(read_names(argv[2]), positives, junk) << std::endl;
    } catch (const std::exception& error) {
        std::cerr << "compute_ap: " << error.what() << std::endl;
        return EXIT_FAILURE;
    }
    return std::cout ? EXIT_SUCCESS : EXIT_FAILURE;
}
