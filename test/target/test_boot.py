import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import APPLICATION, Installed, Lab, write

SETTINGS = """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["www.example.com"]
ROOT_URLCONF = "site_of_mine.urls"
WSGI_APPLICATION = "site_of_mine.wsgi.application"
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
"""
URLS = """
from common import page
from django.urls import path

urlpatterns = [path("", page), path("health/", page)]
"""
COMMON = """
from django.http import HttpResponse

def page(request):
    if request.path == "/health/" and request.GET["deep"] != "1":
        raise KeyError("deep")
    return HttpResponse("ok", status=200 if request.is_secure() else 500)
"""
SERVER = """
import os
from django.core.{0} import get_{0}_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_of_mine.settings")
application = get_{0}_application()
"""
MANAGE = """
import os
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_of_mine.settings')
"""


class Boot(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="it's a tmp ")
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.lab = Lab(self.base)
        Installed.site_packages()
        self.files(
            {
                "manage.py": MANAGE,
                "common.py": COMMON,
                "site_of_mine/__init__.py": "",
                "site_of_mine/settings.py": SETTINGS,
                "site_of_mine/urls.py": URLS,
                "site_of_mine/wsgi.py": SERVER.format("wsgi"),
            }
        )

    def files(self, texts):
        for name, text in texts.items():
            write(f"{self.lab.deploy}/{name}", text)

    def remove(self, name):
        os.unlink(f"{self.lab.deploy}/{name}")

    def boot(self, *words, host="www.example.com"):
        return self.lab.run(
            "boot.py", "--host", host, *words, python=f"{Installed.folder}/bin/python", flags=(), timeout=30
        )

    def assert_boots(self, done):
        self.assertEqual((done.code, done["message"]), (0, ""), done)

    def assert_fails(self, done, *words):
        self.assertEqual((done.code, done["error"]), (1, "failed"), done)
        for word in words:
            self.assertIn(word, done["message"])

    def test_a_project_that_has_modules_named_as_ours(self):
        done = self.boot()
        self.assert_boots(done)
        self.assertIn("GET / as www.example.com: 200", done.log)

    def test_the_path_and_its_query(self):
        self.assert_boots(self.boot("--path", "/health/?deep=1"))
        done = self.boot("--path", "/health/?deep=0")
        self.assert_fails(done, "/health/", "500", "KeyError: 'deep'", "common.py line 6")
        self.assertIn("Traceback", done.log)

    def test_not_found_is_an_answer(self):
        self.assert_boots(self.boot("--path", "/nowhere/"))

    def test_broken_urls(self):
        self.files({"site_of_mine/urls.py": "import common\nurlpatterns = [\n"})
        self.assert_fails(self.boot(), "500", "SyntaxError")

    def test_broken_settings(self):
        self.files({"site_of_mine/settings.py": "import no_such_library\n"})
        done = self.boot()
        self.assert_fails(done, "does not boot", "No module named 'no_such_library'", "settings.py line 1")
        self.assertIn("import no_such_library", done.log)

    def test_a_host_that_is_not_allowed(self):
        done = self.boot(host="other.example.com")
        self.assert_fails(done, "400")
        self.assertIn("ALLOWED_HOSTS", done["hint"])
        self.assertIn("other.example.com", done["hint"])

    def test_of_two_the_settings_choose(self):
        self.files({"another/__init__.py": "", "another/wsgi.py": "raise RuntimeError('the wrong one')"})
        self.assert_boots(self.boot())
        self.assert_fails(self.boot("--wsgi", "another.wsgi:application"), "the wrong one")

    def test_a_virtualenv_in_the_project_is_not_looked_into(self):
        self.remove("manage.py")
        self.files({"env/pyvenv.cfg": "", "env/lib/wsgi.py": "raise RuntimeError('the wrong one')"})
        self.assert_boots(self.boot())

    def test_asgi_alone(self):
        self.remove("site_of_mine/wsgi.py")
        text = SETTINGS.replace("WSGI_APPLICATION", "ASGI_APPLICATION")
        self.files({"site_of_mine/asgi.py": SERVER.format("asgi"), "site_of_mine/settings.py": text})
        done = self.boot()
        self.assert_boots(done)
        self.assertIn("boot test of site_of_mine.asgi", done.log)

    def test_nothing_to_serve(self):
        for name in ("manage.py", "site_of_mine/wsgi.py"):
            self.remove(name)
        done = self.boot()
        self.assert_fails(done, "no WSGI or ASGI module")
        self.assertIn("wsgi:", done["hint"])

    def test_a_wrong_name(self):
        self.assert_fails(self.boot("--wsgi", "site_of_mine.wsgi:app"), "site_of_mine.wsgi has no app")

    def test_threads_of_the_project_do_not_hold_it(self):
        thread = "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        self.files({"site_of_mine/wsgi.py": SERVER.format("wsgi") + thread})
        self.assert_boots(self.boot())

    def test_plain_wsgi(self):
        plain = APPLICATION.replace("import mylib", "").replace("mylib.VERSION", "environ['HTTP_HOST']")
        self.files({"plain/__init__.py": "", "plain/wsgi.py": plain.replace("from app.version import", "#")})
        self.files({"plain/broken.py": "def application(environ, start_response):\n    return 1 / 0\n"})
        self.assert_fails(self.boot("--wsgi", "plain.wsgi"), "NameError")
        self.files({"plain/wsgi.py": "VERSION = ''\n" + plain.replace("from app.version import", "#")})
        self.assert_boots(self.boot("--wsgi", "plain.wsgi"))
        self.assert_fails(self.boot("--wsgi", "plain.broken"), "500", "ZeroDivisionError", "plain/broken.py line 2")


if __name__ == "__main__":
    unittest.main()
