from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("guestbook", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="entry", name="written", field=models.DateTimeField(auto_now_add=True, null=True)
        ),
    ]
