#!/usr/bin/env bash
# Make a release: release.sh VERSION
#
# Checks everything first. Then it sets the version in galaxy.yml, makes the changelog of the fragments, commits, tags, and
# builds the tarball into build/. Nothing leaves this checkout: what to push and to publish is printed at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:-}
branch=${RELEASE_BRANCH:-main}
tag=v$version

fail() {
    echo "No release: $1" >&2
    exit 1
}

[ -n "$version" ] || fail "say which version: make release VERSION=1.2.3"
[[ $version =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] || fail "$version is not MAJOR.MINOR.PATCH"
here=$(git symbolic-ref --quiet --short HEAD) || fail "no branch is checked out"
[ "$here" = "$branch" ] || fail "this is the branch $here, not $branch (RELEASE_BRANCH=$here if you mean it)"
[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed; see git status"
! git rev-parse --quiet --verify "refs/tags/$tag" >/dev/null || fail "the tag $tag is there already"
latest=$(git tag --list 'v[0-9]*' | sort --version-sort | tail -n 1)
[ "$(printf '%s\n' "${latest:-v0.0.0}" "$tag" | sort --version-sort | tail -n 1)" = "$tag" ] ||
    fail "$version is older than $latest"
compgen -G 'changelogs/fragments/*.yml' >/dev/null || fail "changelogs/fragments has nothing that is new"
antsibull-changelog lint

current=$(sed -n 's/^version: //p' galaxy.yml)
echo "Releasing $version (galaxy.yml has $current)"

# Until the commit, a failure or Ctrl-C leaves the checkout as it was: clean, see above.
trap 'git reset --quiet --hard; git clean --quiet --force -- CHANGELOG.rst changelogs' EXIT
sed -i "s/^version: .*/version: $version/" galaxy.yml
antsibull-changelog release --version "$version"
git add galaxy.yml CHANGELOG.rst changelogs
git commit --quiet --message "Release $version"
trap - EXIT
git tag --annotate --message "uvnas.cluster $version" "$tag"

mkdir -p build
ansible-galaxy collection build --force --output-path build
cat <<END

Released here, nowhere else. Look at it (git show $tag), then:
  git push origin $branch $tag
  ansible-galaxy collection publish build/uvnas-cluster-$version.tar.gz
To take it back before that:
  git tag --delete $tag && git reset --hard HEAD~
END
